/**
 * What there is to show of a slice that no pane was written for: its leaves, first those that the driver's schema promises, so that a value
 * has its place before it comes, then what the slice has beyond. Pure.
 */

import { ABSENT, formatClock, formatName, formatNumber } from '../components/format'
import { resolve } from '../schema/resolve'
import { isObject } from '../wire/decode'
import { memberOf, textOf } from '../wire/read'
import type { Json, JsonObject } from '../wire/types'
import { describeValue } from './tree'

export interface Field {
  /** Names of the members on the way. */
  readonly path: readonly string[]
  /** The first of them if there are several, as a heading. */
  readonly group: string | null
  readonly label: string
  readonly unit: string | null
  readonly description: string
  /** The series that carries the same quantity. */
  readonly series: string | null
}

export interface FieldList {
  readonly fields: readonly Field[]
  /** How many more there are. */
  readonly left: number
}

/** More than a pane can show in a useful way; the state's pane shows all of them. */
const FIELD_LIMIT = 60
const DEPTH = 4

/** Members that the pane shows in places of their own. */
const SHOWN_ELSEWHERE = new Set(['phase', 'message'])

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

export function sliceFields(schema: JsonObject | null, slice: JsonObject, series: Readonly<Record<string, { readonly unit: string }>>): FieldList {
  const fields: Field[] = []
  /** Leaves and everything above them. */
  const known = new Set<string>()
  let left = 0

  function leaf(path: readonly string[], description: string): void {
    if (fields.length >= FIELD_LIMIT) {
      left += 1
      return
    }
    for (let length = 1; length <= path.length; length += 1) known.add(keyOf(path.slice(0, length)))
    fields.push(fieldOf(path, description, series))
  }

  function promised(part: JsonObject, path: readonly string[], root: JsonObject): void {
    for (const [name, member] of Object.entries(memberOf(part, 'properties') ?? {})) {
      if (path.length === 0 && SHOWN_ELSEWHERE.has(name)) continue
      const { schema: inner } = resolve(member, root)
      const below = [...path, name]
      if (isObject(inner['properties']) && below.length < DEPTH) promised(inner, below, root)
      else leaf(below, textOf(inner, 'description') ?? '')
    }
  }

  function present(part: JsonObject, path: readonly string[]): void {
    for (const [name, value] of Object.entries(part)) {
      if (path.length === 0 && SHOWN_ELSEWHERE.has(name)) continue
      const below = [...path, name]
      if (isObject(value) && Object.keys(value).length > 0 && below.length < DEPTH) present(value, below)
      // What the schema promises as an object is nothing in itself while it is null or empty.
      else if (!known.has(keyOf(below))) leaf(below, '')
    }
  }

  if (schema !== null) promised(resolve(schema, schema).schema, [], schema)
  present(slice, [])
  // Single values before groups; both in the order in which they were found.
  const ordered = [...fields.filter(({ group }) => group === null), ...fields.filter(({ group }) => group !== null)]
  return { fields: ordered, left }
}

export function valueAt(slice: JsonObject, path: readonly string[]): Json | undefined {
  let value: Json | undefined = slice
  for (const name of path) value = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined
  return value
}

/** A name as a label, and the unit that stands at its end. */
export function splitUnit(name: string): { readonly label: string; readonly stem: string; readonly unit: string | null } {
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

/** A value as a person reads it, without its unit. Absent and null are two things. */
export function formatField(field: Pick<Field, 'path'>, value: Json | undefined, decimals: number): string {
  if (value === undefined) return ABSENT
  if (value === null) return 'none'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  const at = timeOf(field.path.at(-1) ?? '', value)
  if (at !== null) return formatMoment(at)
  if (typeof value === 'number') return formatNumber(value, decimals)
  if (typeof value === 'string') return value === '' ? 'empty' : value
  if (Array.isArray(value) && value.length > 0 && value.every((item) => typeof item !== 'object')) return value.join(', ')
  return describeValue(value)
}

/** Milliseconds since 1970 of a value that is a time: a text in ISO 8601, or a number whose name ends in `At`. */
function timeOf(name: string, value: Json): number | null {
  if (typeof value === 'number') return /[a-z0-9]At$/.test(name) && value > 0 ? value : null
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(value)) return null
  const at = Date.parse(value)
  return Number.isNaN(at) ? null : at
}

/** Time of day, with the day if that is another than today. */
export function formatMoment(atMs: number): string {
  const clock = formatClock(atMs)
  const day = new Date(atMs)
  if (clock === ABSENT || day.toDateString() === new Date().toDateString()) return clock
  const two = (value: number) => String(value).padStart(2, '0')
  return `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())} ${clock}`
}

function keyOf(path: readonly string[]): string {
  return JSON.stringify(path)
}

function fieldOf(path: readonly string[], description: string, series: Readonly<Record<string, { readonly unit: string }>>): Field {
  const name = path.at(-1) ?? ''
  const { label, stem, unit } = splitUnit(name)
  const whole = Object.hasOwn(series, name) ? name : null
  const carried = whole ?? (unit !== null && Object.hasOwn(series, stem) && series[stem]?.unit === unit ? stem : null)
  const between = path.slice(1, -1).map(formatName)
  return {
    path,
    group: path.length > 1 ? formatName(path[0] ?? '') : null,
    label: [...between, label].join(' · '),
    unit: carried === null ? unit : (series[carried]?.unit ?? unit),
    description,
    series: carried,
  }
}
