/** The life of a command in words: its stages with their times, and how long it took. Pure. */

import { formatClockMs, formatDuration } from '../components/format'
import type { CommandRecord, CommandStage } from '../wire/types'

export interface StageRow {
  readonly name: string
  /** The time of day of the first, and how much later each other was. */
  readonly time: string
}

export function stagesOf(record: CommandRecord): readonly StageRow[] {
  const start = Date.parse(record.queuedAt)
  const later = (name: string, at: string | undefined): StageRow[] => {
    const ms = at === undefined ? Number.NaN : Date.parse(at)
    return Number.isNaN(ms) ? [] : [{ name, time: `+${formatDuration(ms - start)}` }]
  }
  return [
    { name: 'queued', time: formatClockMs(start) },
    ...later('sent', record.sentAt),
    ...later('acked', record.ackedAt),
    ...later(record.status, record.completedAt),
  ]
}

/** How long it took, or has taken by now, in milliseconds; null when its times cannot be read. */
export function durationMs(record: CommandRecord, nowMs: number): number | null {
  const end = record.completedAt === undefined ? nowMs : Date.parse(record.completedAt)
  const took = end - Date.parse(record.queuedAt)
  return Number.isNaN(took) ? null : Math.max(0, took)
}

export function toneOf(status: CommandStage): string {
  switch (status) {
    case 'succeeded':
      return 'tone-good'
    case 'failed':
    case 'blocked':
    case 'expired':
      return 'tone-bad'
    case 'cancelled':
      return 'tone-mute'
    case 'queued':
    case 'sent':
    case 'acked':
      return 'tone-busy'
  }
}

/** What came of it, in a line: the reason, else what the device has now, or gave back, else how far it is. */
export function outcomeOf(record: CommandRecord): string {
  if (record.reason !== undefined) return record.reason
  if (typeof record.actualValue === 'boolean' || typeof record.actualValue === 'string') return `now ${record.actualValue}`
  if (record.actualValue !== undefined) return JSON.stringify(record.actualValue)
  return record.completedAt === undefined ? (record.progress?.message ?? '') : ''
}
