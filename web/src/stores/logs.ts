import { useLocalStorage } from '@vueuse/core'
import { acceptHMRUpdate, defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'
import { isLevel, isObject } from '../wire/decode'
import { DEFAULT_LOGS_CONFIG } from '../wire/slices'
import type { LogsConfig } from '../wire/slices'
import { LEVELS } from '../wire/types'
import type { Json, Level, LogEntry, LogsFrame, SeqRange } from '../wire/types'

export type SortOrder = 'newest-first' | 'oldest-first'

/** What the engineer set, kept in localStorage over reloads. */
export interface LogPreferences {
  /** Channels to show; null shows all, an empty list none. */
  readonly channels: readonly string[] | null
  readonly minLevel: Level
  readonly search: string
  readonly sort: SortOrder
  readonly paused: boolean
  readonly autoscroll: boolean
}

export type LogRow =
  | { readonly kind: 'entry'; readonly entry: LogEntry }
  | { readonly kind: 'missed'; readonly range: SeqRange }

export const LOG_PREFERENCES_KEY = 'autobench.logs'

const DEFAULT_PREFERENCES: LogPreferences = {
  channels: null,
  minLevel: 'debug',
  search: '',
  sort: 'newest-first',
  paused: false,
  autoscroll: true,
}

/** Ranges of lost entries that are remembered; the oldest is forgotten first. */
const MISSED_CAPACITY = 50

/**
 * The newest log entries in ascending order of their sequence numbers, as many as the daemon suggests, and how they are shown.
 */
export const useLogs = defineStore('logs', () => {
  const entries = shallowRef<readonly LogEntry[]>([])
  const missed = shallowRef<readonly SeqRange[]>([])
  const config = shallowRef<LogsConfig>(DEFAULT_LOGS_CONFIG)
  const preferences = useLocalStorage<LogPreferences>(LOG_PREFERENCES_KEY, DEFAULT_PREFERENCES, {
    shallow: true,
    serializer: { read: readPreferences, write: (value) => JSON.stringify(value) },
  })
  /** Entries up to this number were cleared from view. */
  const clearedSeq = ref(0)
  /** What was there when the view was paused. */
  const frozen = shallowRef<readonly LogEntry[] | null>(null)

  /** The level below which nothing is shown: the engineer's, but never below what the daemon sends. */
  const minLevel = computed(() =>
    LEVELS.indexOf(preferences.value.minLevel) < LEVELS.indexOf(config.value.minLevel) ? config.value.minLevel : preferences.value.minLevel,
  )

  const shown = computed(() => (frozen.value ?? entries.value).filter((entry) => entry.seq > clearedSeq.value))

  const filtered = computed(() => {
    const { channels, search } = preferences.value
    const least = LEVELS.indexOf(minLevel.value)
    const needle = search.trim().toLowerCase()
    return shown.value.filter(
      (entry) =>
        LEVELS.indexOf(entry.level) >= least &&
        (channels === null || channels.includes(entry.channel)) &&
        (needle === '' || searchText(entry).includes(needle)),
    )
  })

  /** Entries and lost ranges in the order of the view. */
  const rows = computed<readonly LogRow[]>(() => {
    const rows: LogRow[] = filtered.value.map((entry) => ({ kind: 'entry', entry }))
    for (const range of missed.value) {
      if (range.toSeq <= clearedSeq.value) continue
      const at = rows.findIndex((row) => row.kind === 'entry' && row.entry.seq > range.toSeq)
      rows.splice(at === -1 ? rows.length : at, 0, { kind: 'missed', range })
    }
    return preferences.value.sort === 'newest-first' ? rows.reverse() : rows
  })

  /** Each channel that may occur, with its emoji and how many entries it has. */
  const channels = computed(() => {
    const found = new Map(config.value.allowedChannels.map((name) => [name, { name, emoji: '', color: '', count: 0 }]))
    for (const entry of shown.value) {
      const channel = found.get(entry.channel) ?? { name: entry.channel, emoji: '', color: '', count: 0 }
      found.set(entry.channel, { ...channel, emoji: entry.emoji, color: entry.color, count: channel.count + 1 })
    }
    return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  })

  /** Entries that came since the view was paused. */
  const held = computed(() => {
    const last = frozen.value === null ? null : (frozen.value.at(-1)?.seq ?? 0)
    return last === null ? 0 : entries.value.filter((entry) => entry.seq > last).length
  })

  function adoptServerConfig(next: LogsConfig): void {
    config.value = next
    entries.value = entries.value.slice(-next.capacity)
  }

  /** Takes a range. Entries that are already there, as in a history after a reconnect, change nothing. */
  function take(frame: LogsFrame, lost: SeqRange | null): void {
    if (preferences.value.paused && frozen.value === null) frozen.value = entries.value
    if (lost !== null && lost.toSeq >= lost.fromSeq) missed.value = joinRanges([...missed.value, lost]).slice(-MISSED_CAPACITY)
    entries.value = merge(entries.value, frame.entries).slice(-config.value.capacity)
  }

  /** Another run of the daemon counts from 1 again. */
  function restart(): void {
    entries.value = []
    missed.value = []
    clearedSeq.value = 0
    if (frozen.value !== null) frozen.value = []
  }

  function prefer(change: Partial<LogPreferences>): void {
    preferences.value = { ...preferences.value, ...change }
  }

  function setPaused(paused: boolean): void {
    frozen.value = paused ? entries.value : null
    prefer({ paused })
  }

  /** Shows one channel or hides it. From "all", hiding one leaves the others. */
  function toggleChannel(name: string): void {
    const names = channels.value.map((channel) => channel.name)
    const on = preferences.value.channels ?? names
    const next = on.includes(name) ? on.filter((other) => other !== name) : [...on, name]
    prefer({ channels: names.every((other) => next.includes(other)) ? null : next })
  }

  function clear(): void {
    clearedSeq.value = entries.value.at(-1)?.seq ?? 0
    if (frozen.value !== null) frozen.value = entries.value
  }

  /** What the filters let through, as the JSON that the export saves. */
  function exportJson(): string {
    return JSON.stringify(filtered.value, null, 2)
  }

  return {
    entries,
    missed,
    config,
    preferences,
    minLevel,
    shown,
    filtered,
    rows,
    channels,
    held,
    adoptServerConfig,
    take,
    restart,
    prefer,
    setPaused,
    toggleChannel,
    clear,
    exportJson,
  }
})

function searchText(entry: LogEntry): string {
  return `${entry.message}\n${entry.channel}\n${entry.tag ?? ''}\n${entry.module ?? ''}`.toLowerCase()
}

/** Both ascending; the usual case, all new ones after all old ones, is a concatenation. */
function merge(old: readonly LogEntry[], fresh: readonly LogEntry[]): readonly LogEntry[] {
  const first = fresh[0]
  if (first === undefined) return old
  const last = old.at(-1)
  if (last === undefined || first.seq > last.seq) return [...old, ...fresh]
  const bySeq = new Map([...old, ...fresh].map((entry) => [entry.seq, entry]))
  return [...bySeq.values()].sort((a, b) => a.seq - b.seq)
}

function joinRanges(ranges: readonly SeqRange[]): SeqRange[] {
  const joined: SeqRange[] = []
  for (const range of [...ranges].sort((a, b) => a.fromSeq - b.fromSeq)) {
    const last = joined.at(-1)
    if (last !== undefined && range.fromSeq <= last.toSeq + 1) {
      joined[joined.length - 1] = { fromSeq: last.fromSeq, toSeq: Math.max(last.toSeq, range.toSeq) }
    } else joined.push(range)
  }
  return joined
}

/** Whatever lies in localStorage, an older page wrote it: each field is taken only if it still makes sense. */
function readPreferences(text: string): LogPreferences {
  let raw: Json
  try {
    raw = JSON.parse(text) as Json
  } catch {
    return DEFAULT_PREFERENCES
  }
  if (!isObject(raw)) return DEFAULT_PREFERENCES
  const { channels, minLevel, search, sort, paused, autoscroll } = raw
  return {
    channels: Array.isArray(channels) ? (channels as readonly Json[]).filter((name) => typeof name === 'string') : null,
    minLevel: isLevel(minLevel) ? minLevel : DEFAULT_PREFERENCES.minLevel,
    search: typeof search === 'string' ? search : '',
    sort: sort === 'oldest-first' ? sort : 'newest-first',
    paused: paused === true,
    autoscroll: autoscroll !== false,
  }
}

if (import.meta.hot) import.meta.hot.accept(acceptHMRUpdate(useLogs, import.meta.hot))
