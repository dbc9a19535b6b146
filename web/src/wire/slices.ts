/**
 * Typed looks at parts of the mirror. The document is whatever the daemon and its drivers wrote; a pane asks here and gets either
 * the shape it knows or `undefined`, and says so instead of guessing.
 */

import { isLevel, isObject } from './decode'
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
  const ws = member(member(document, 'serverConfig'), 'ws')
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
  const logs = member(member(document, 'serverConfig'), 'logs')
  const minLevel = logs?.['minLevel']
  return {
    capacity: Math.round(within(logs, 'capacity', DEFAULT_LOGS_CONFIG.capacity, 1, LOGS_CAPACITY_MAX)),
    minLevel: isLevel(minLevel) ? minLevel : DEFAULT_LOGS_CONFIG.minLevel,
    allowedChannels: texts(logs?.['allowedChannels']),
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

export interface Reload {
  readonly at: string | null
  readonly verdict: string
  readonly reason: string | null
  readonly pauseUs: number | null
}

export interface Device {
  readonly id: string
  readonly status: string
  readonly reason: string | null
  readonly plugin: string | null
  readonly staleSince: string | null
  readonly driverVersion: string | null
  readonly generation: number | null
  readonly lastReload: Reload | null
  /** Endpoint ids of the series by name. */
  readonly series: Readonly<Record<string, number>>
}

export function readDevice(devices: Json | undefined, id: string | null): Device | undefined {
  if (id === null || !isObject(devices) || !Object.hasOwn(devices, id)) return undefined
  const device = devices[id]
  if (!isObject(device)) return undefined
  const driver = member(device, 'driver')
  const reload = member(driver, 'lastReload')
  return {
    id,
    status: textOf(device, 'status') ?? 'unknown',
    reason: textOf(device, 'reason') ?? null,
    plugin: textOf(device, 'plugin') ?? null,
    staleSince: textOf(device, 'staleSince') ?? null,
    driverVersion: textOf(driver, 'version') ?? null,
    generation: numberOf(driver, 'generation'),
    lastReload: reload && {
      at: textOf(reload, 'at') ?? null,
      verdict: textOf(reload, 'verdict') ?? 'unknown',
      reason: textOf(reload, 'reason') ?? null,
      pauseUs: numberOf(reload, 'pauseUs'),
    },
    series: readSeries(member(device, 'series')),
  }
}

export function readDevices(devices: Json | undefined): readonly Device[] {
  if (!isObject(devices)) return []
  return Object.keys(devices).flatMap((id) => readDevice(devices, id) ?? [])
}

export interface RefusedPlugin {
  readonly name: string
  readonly reason: string | null
}

export function readRefusedPlugins(plugins: Json | undefined): readonly RefusedPlugin[] {
  if (!isObject(plugins)) return []
  return Object.entries(plugins).flatMap(([name, plugin]) =>
    isObject(plugin) && plugin['status'] === 'refused' ? [{ name, reason: textOf(plugin, 'reason') ?? null }] : [],
  )
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
  const stats = member(value, 'stats')
  return {
    phase,
    message: textOf(value, 'message') ?? null,
    totalSamples: numberOf(stats, 'totalSamples'),
    badRows: numberOf(stats, 'badRows'),
    lastSample: readSample(member(value, 'lastSample')),
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

function readSeries(series: JsonObject | null): Readonly<Record<string, number>> {
  const endpoints: Record<string, number> = {}
  for (const [name, entry] of Object.entries(series ?? {})) {
    const id = isObject(entry) ? numberOf(entry, 'endpointId') : null
    if (id !== null) endpoints[name] = id
  }
  return endpoints
}

function member(object: JsonObject | null, key: string): JsonObject | null {
  const value = object?.[key]
  return isObject(value) ? value : null
}

export function textOf(object: JsonObject | null, key: string): string | undefined {
  const value = object?.[key]
  return typeof value === 'string' ? value : undefined
}

function numberOf(object: JsonObject | null, key: string): number | null {
  const value = object?.[key]
  return typeof value === 'number' && Number.isFinite(value) ? value : null
}

function within(object: JsonObject | null, key: string, fallback: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, numberOf(object, key) ?? fallback))
}

function texts(value: Json | undefined): readonly string[] {
  return Array.isArray(value) ? (value as readonly Json[]).filter((item) => typeof item === 'string') : []
}
