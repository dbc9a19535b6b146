/**
 * Typed looks at parts of the mirror. The document is whatever the daemon and its drivers wrote; a pane asks here and gets either
 * the shape it knows or `undefined`, and says so instead of guessing.
 */

import { isLevel, isObject } from './decode'
import { memberOf, numberOf, textOf, textsOf, within } from './read'
import type { Json, JsonObject, Level } from './types'

export interface WsConfig {
  readonly heartbeatIntervalMs: number
  readonly heartbeatTimeoutMs: number
  readonly reconnectEnabled: boolean
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
  readonly reconnectFactor: number
  readonly reconnectJitter: number
}

export interface LogsConfig {
  readonly capacity: number
  readonly minLevel: Level
  /** Empty means every channel. */
  readonly allowedChannels: readonly string[]
}

/** In force until the first snapshot brings the daemon's own. */
export const DEFAULT_WS_CONFIG: WsConfig = {
  heartbeatIntervalMs: 10_000,
  heartbeatTimeoutMs: 5_000,
  reconnectEnabled: true,
  reconnectMinMs: 1_000,
  reconnectMaxMs: 15_000,
  reconnectFactor: 1.8,
  reconnectJitter: 0.2,
}

export const DEFAULT_LOGS_CONFIG: LogsConfig = { capacity: 500, minLevel: 'debug', allowedChannels: [] }

/** More rows than this and the page, not the daemon, becomes the bottleneck. */
export const LOGS_CAPACITY_MAX = 5_000

export function readWsConfig(document: JsonObject | null): WsConfig {
  const ws = memberOf(memberOf(document, 'serverConfig'), 'ws')
  const reconnectMinMs = within(ws, 'reconnectMinMs', DEFAULT_WS_CONFIG.reconnectMinMs, 10, 3_600_000)
  return {
    heartbeatIntervalMs: within(ws, 'heartbeatIntervalMs', DEFAULT_WS_CONFIG.heartbeatIntervalMs, 100, 3_600_000),
    heartbeatTimeoutMs: within(ws, 'heartbeatTimeoutMs', DEFAULT_WS_CONFIG.heartbeatTimeoutMs, 100, 3_600_000),
    reconnectEnabled: ws?.['reconnectEnabled'] !== false,
    reconnectMinMs,
    reconnectMaxMs: within(ws, 'reconnectMaxMs', DEFAULT_WS_CONFIG.reconnectMaxMs, reconnectMinMs, 3_600_000),
    reconnectFactor: within(ws, 'reconnectFactor', DEFAULT_WS_CONFIG.reconnectFactor, 1, 100),
    reconnectJitter: within(ws, 'reconnectJitter', DEFAULT_WS_CONFIG.reconnectJitter, 0, 1),
  }
}

export function readLogsConfig(document: JsonObject | null): LogsConfig {
  const logs = memberOf(memberOf(document, 'serverConfig'), 'logs')
  const minLevel = logs?.['minLevel']
  return {
    capacity: Math.round(within(logs, 'capacity', DEFAULT_LOGS_CONFIG.capacity, 1, LOGS_CAPACITY_MAX)),
    minLevel: isLevel(minLevel) ? minLevel : DEFAULT_LOGS_CONFIG.minLevel,
    allowedChannels: textsOf(logs?.['allowedChannels']),
  }
}

export interface PanePlace {
  readonly id: string
  readonly pane: string
  readonly slice: string | null
  readonly device: string | null
  readonly row: number
  readonly col: number
  readonly rowSpan: number
  readonly colSpan: number
}

export interface Layout {
  readonly rows: number
  readonly cols: number
  readonly panes: readonly PanePlace[]
}

export function readLayout(value: Json | undefined): Layout | undefined {
  if (!isObject(value) || !Array.isArray(value['panes'])) return undefined
  const panes = (value['panes'] as readonly Json[]).filter(isObject).map((pane, index): PanePlace => ({
    id: textOf(pane, 'id') ?? `pane-${index}`,
    pane: textOf(pane, 'pane') ?? '',
    slice: textOf(pane, 'slice') ?? null,
    device: textOf(pane, 'device') ?? null,
    row: Math.floor(within(pane, 'row', 0, 0, 63)),
    col: Math.floor(within(pane, 'col', 0, 0, 63)),
    rowSpan: Math.floor(within(pane, 'rowSpan', 1, 1, 64)),
    colSpan: Math.floor(within(pane, 'colSpan', 1, 1, 64)),
  }))
  return {
    rows: Math.floor(within(value, 'rows', 1, 1, 64)),
    cols: Math.floor(within(value, 'cols', 1, 1, 64)),
    panes,
  }
}

/** The quantities a power meter may log. One that it does not log is absent, never zero. */
export const QUANTITIES = ['watts', 'volts', 'amps', 'frequencyHz', 'powerFactor', 'energyWh', 'apparentVa'] as const
export type Quantity = (typeof QUANTITIES)[number]

export interface PowerMeter {
  readonly phase: string
  readonly message: string | null
  readonly totalSamples: number | null
  readonly badRows: number | null
  readonly lastSample: ({ readonly ts: string } & Readonly<Partial<Record<Quantity, number>>>) | null
}

export function readPowerMeter(value: Json | undefined): PowerMeter | undefined {
  if (!isObject(value)) return undefined
  const phase = textOf(value, 'phase')
  if (phase === undefined) return undefined
  const stats = memberOf(value, 'stats')
  return {
    phase,
    message: textOf(value, 'message') ?? null,
    totalSamples: numberOf(stats, 'totalSamples'),
    badRows: numberOf(stats, 'badRows'),
    lastSample: readSample(memberOf(value, 'lastSample')),
  }
}

function readSample(sample: JsonObject | null): PowerMeter['lastSample'] {
  const ts = textOf(sample, 'ts')
  if (sample === null || ts === undefined) return null
  const quantities: Partial<Record<Quantity, number>> = {}
  for (const quantity of QUANTITIES) {
    const value = numberOf(sample, quantity)
    if (value !== null) quantities[quantity] = value
  }
  return { ts, ...quantities }
}
