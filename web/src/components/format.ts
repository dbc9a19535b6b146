/** Numbers and times as the panes print them. Pure; a column of them keeps its width. */

/** What stands for a quantity that is not there. Never a zero. */
export const ABSENT = '–'

/** A fixed number of decimals, with a real minus sign. */
export function formatNumber(value: number | null | undefined, decimals: number): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return ABSENT
  const text = Math.abs(value).toFixed(decimals)
  return value < 0 && Number(text) !== 0 ? `−${text}` : text
}

/**
 * How long ago: tenths of a second below ten, then whole units. A time in the future, which two clocks can produce, is "0.0 s".
 */
export function formatAge(ageMs: number): string {
  const seconds = Math.max(0, ageMs) / 1000
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.floor(seconds)} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${pad(Math.floor(seconds % 60), 2)} s`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${pad(Math.floor((seconds % 3_600) / 60), 2)} min`
  return `${Math.floor(seconds / 86_400)} d ${pad(Math.floor((seconds % 86_400) / 3_600), 2)} h`
}

/** How long something took: milliseconds below a second, then as an age. */
export function formatDuration(durationMs: number): string {
  const ms = Math.max(0, durationMs)
  return ms < 999.5 ? `${Math.round(ms)} ms` : formatAge(ms)
}

/** Time of day in the reader's zone. */
export function formatClock(timestampMs: number): string {
  const at = new Date(timestampMs)
  if (Number.isNaN(at.getTime())) return ABSENT
  return `${pad(at.getHours(), 2)}:${pad(at.getMinutes(), 2)}:${pad(at.getSeconds(), 2)}`
}

/** Time of day, with the day if that is another than today. */
export function formatMoment(atMs: number): string {
  const clock = formatClock(atMs)
  const day = new Date(atMs)
  if (clock === ABSENT || day.toDateString() === new Date().toDateString()) return clock
  return `${day.getFullYear()}-${pad(day.getMonth() + 1, 2)}-${pad(day.getDate(), 2)} ${clock}`
}

/** Time of day with milliseconds, for logs. */
export function formatClockMs(timestampMs: number): string {
  const clock = formatClock(timestampMs)
  return clock === ABSENT ? ABSENT : `${clock}.${pad(new Date(timestampMs).getMilliseconds(), 3)}`
}

/** A size: bytes below 10 KiB, then KiB and MiB with one decimal. */
export function formatBytes(bytes: number): string {
  if (bytes < 10_240) return `${bytes} B`
  return bytes < 1_048_576 ? `${(bytes / 1_024).toFixed(1)} KiB` : `${(bytes / 1_048_576).toFixed(1)} MiB`
}

/** `frontPanel` and `front-panel` as "Front panel". */
export function formatName(name: string): string {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/[-_.]+/g, ' ')
    .trim()
    .toLowerCase()
  return words.charAt(0).toUpperCase() + words.slice(1)
}

/** Names carry their unit at the end. Single letters are left out: they are too often part of a word. */
const UNITS: Readonly<Record<string, string>> = {
  Hz: 'Hz',
  Wh: 'Wh',
  Va: 'VA',
  Mv: 'mV',
  Ma: 'mA',
  Mw: 'mW',
  Ns: 'ns',
  Us: 'µs',
  Ms: 'ms',
  Bytes: 'B',
  Kib: 'KiB',
  Mib: 'MiB',
  Percent: '%',
  Rpm: 'rpm',
}

/** A name as a label, and the unit that stands at its end. */
export function splitUnit(name: string): { readonly label: string; readonly stem: string; readonly unit: string | null } {
  // A name that is nothing but a unit is written as one: `ms`, not "Ms".
  const alone = Object.values(UNITS).find((unit) => unit.toLowerCase() === name.toLowerCase())
  if (alone !== undefined) return { label: alone, stem: name, unit: null }
  const suffix = /[a-z0-9]([A-Z][a-z]+)$/.exec(name)?.[1]
  const unit = suffix === undefined ? undefined : UNITS[suffix]
  if (suffix === undefined || unit === undefined) return { label: formatName(name), stem: name, unit: null }
  const stem = name.slice(0, -suffix.length)
  return { label: formatName(stem), stem, unit }
}

/** A unit as it stands behind a number: a share has none. */
export function shownUnit(unit: string | null): string {
  return unit === null || unit === '1' ? '' : unit
}

/** Decimals that a number needs, at most three: what an instrument measures is rarely better, and its noise is no reading. */
export function decimalsOf(value: number): number {
  if (!Number.isFinite(value) || Number.isInteger(value)) return 0
  const most = Math.abs(value) >= 1_000 ? 1 : 3
  return value.toFixed(most).replace(/0+$/, '').split('.')[1]?.length ?? 0
}

function pad(value: number, width: number): string {
  return String(value).padStart(width, '0')
}
