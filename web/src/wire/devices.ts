/**
 * Typed looks at devices and plugins: what the daemon says of them, and what a driver says of itself in its manifest. As everywhere, what is
 * not there or not that is null, and the pane says so.
 */

import { isObject } from './decode'
import { listOf, memberOf, numberOf, textOf } from './read'
import type { Json, JsonObject } from './types'

export interface Reload {
  readonly at: string | null
  readonly verdict: string
  readonly reason: string | null
  readonly pauseUs: number | null
  readonly carriedBytes: number | null
}

export interface Port {
  readonly name: string
  readonly path: string | null
  readonly attached: boolean
  /** USB ids and serial number in one line, as far as the system knows them. */
  readonly identity: string | null
}

export interface SeriesInfo {
  readonly endpointId: number
  readonly unit: string
}

export interface Device {
  readonly id: string
  readonly type: string | null
  readonly slice: string | null
  readonly status: string
  readonly phase: string | null
  readonly reason: string | null
  readonly plugin: string | null
  /** When its driver last dealt with something of the device. */
  readonly lastSeen: string | null
  readonly staleSince: string | null
  readonly driverVersion: string | null
  readonly generation: number | null
  /** Counters of the daemon about the driver; empty before its first start. */
  readonly health: JsonObject
  readonly lastReload: Reload | null
  readonly ports: readonly Port[]
  /** By name. */
  readonly series: Readonly<Record<string, SeriesInfo>>
}

export function readDevice(devices: Json | undefined, id: string | null): Device | undefined {
  if (id === null || !isObject(devices) || !Object.hasOwn(devices, id)) return undefined
  const device = devices[id]
  if (!isObject(device)) return undefined
  const driver = memberOf(device, 'driver')
  return {
    id,
    type: textOf(device, 'type') ?? null,
    slice: textOf(device, 'slice') ?? null,
    status: textOf(device, 'status') ?? 'unknown',
    phase: textOf(device, 'phase') ?? null,
    reason: textOf(device, 'reason') ?? null,
    plugin: textOf(device, 'plugin') ?? null,
    lastSeen: textOf(device, 'lastSeen') ?? null,
    staleSince: textOf(device, 'staleSince') ?? null,
    driverVersion: textOf(driver, 'version') ?? null,
    generation: numberOf(driver, 'generation'),
    health: memberOf(driver, 'health') ?? {},
    lastReload: readReload(memberOf(driver, 'lastReload')),
    ports: readPorts(memberOf(device, 'ports')),
    series: readSeries(memberOf(device, 'series')),
  }
}

export function readDevices(devices: Json | undefined): readonly Device[] {
  if (!isObject(devices)) return []
  return Object.keys(devices).flatMap((id) => readDevice(devices, id) ?? [])
}

function readReload(reload: JsonObject | null): Reload | null {
  if (reload === null) return null
  return {
    at: textOf(reload, 'at') ?? null,
    verdict: textOf(reload, 'verdict') ?? 'unknown',
    reason: textOf(reload, 'reason') ?? null,
    pauseUs: numberOf(reload, 'pauseUs'),
    carriedBytes: numberOf(reload, 'carriedBytes'),
  }
}

function readPorts(ports: JsonObject | null): readonly Port[] {
  return Object.entries(ports ?? {}).flatMap(([name, port]) =>
    isObject(port)
      ? [{ name, path: textOf(port, 'path') ?? null, attached: port['attached'] === true, identity: readIdentity(memberOf(port, 'identity')) }]
      : [],
  )
}

function readIdentity(identity: JsonObject | null): string | null {
  const vendor = numberOf(identity, 'usbVendorId')
  const product = numberOf(identity, 'usbProductId')
  const usb = vendor === null || product === null ? [] : [`USB ${hex(vendor)}:${hex(product)}`]
  const parts = [...usb, textOf(identity, 'serialNumber') ?? ''].filter((part) => part !== '')
  return parts.length === 0 ? null : parts.join(' ')
}

function hex(id: number): string {
  return id.toString(16).padStart(4, '0')
}

function readSeries(series: JsonObject | null): Readonly<Record<string, SeriesInfo>> {
  const known: Record<string, SeriesInfo> = {}
  for (const [name, entry] of Object.entries(series ?? {})) {
    const endpointId = isObject(entry) ? numberOf(entry, 'endpointId') : null
    if (isObject(entry) && endpointId !== null) known[name] = { endpointId, unit: textOf(entry, 'unit') ?? '' }
  }
  return known
}

export interface CommandDescription {
  readonly name: string
  readonly description: string
  /** JSON Schema of its arguments. */
  readonly argumentsSchema: Json
  readonly dangerous: boolean
  /** Whether what it begins lasts only while the client that sent it says so. */
  readonly hold: boolean
}

export interface Manifest {
  readonly description: string
  /** What each series is, in a few words, in the driver's order. */
  readonly series: readonly { readonly name: string; readonly description: string }[]
  readonly commands: readonly CommandDescription[]
  /** Ports without which the driver cannot do its work. */
  readonly requiredPorts: readonly string[]
  readonly sliceSchema: JsonObject | null
}

export interface Plugin {
  readonly stem: string
  readonly status: string
  readonly reason: string | null
  /** The version in its file, while that waits for consent. */
  readonly waiting: Waiting | null
  /** Null while it is not known. */
  readonly manifest: Manifest | null
}

/** A version that wants more than those before it, and is not run before somebody agrees. */
export interface Waiting {
  readonly version: string | null
  readonly devices: readonly string[]
  /** What it wants more, in words. */
  readonly wants: readonly string[]
}

export function readPlugin(plugins: Json | undefined, stem: string | null): Plugin | undefined {
  if (stem === null || !isObject(plugins) || !Object.hasOwn(plugins, stem)) return undefined
  const plugin = plugins[stem]
  if (!isObject(plugin)) return undefined
  return {
    stem,
    status: textOf(plugin, 'status') ?? 'unknown',
    reason: textOf(plugin, 'reason') ?? null,
    waiting: readWaiting(memberOf(plugin, 'waiting')),
    manifest: readManifest(memberOf(plugin, 'manifest')),
  }
}

function readWaiting(waiting: JsonObject | null): Waiting | null {
  if (waiting === null) return null
  return {
    version: textOf(waiting, 'version') ?? null,
    devices: listOf(waiting, 'devices').filter((device) => typeof device === 'string'),
    wants: listOf(waiting, 'wants').flatMap((want) => (isObject(want) ? (textOf(want, 'words') ?? []) : [])),
  }
}

/** Plugins of which a version waits for consent. */
export function readWaitingPlugins(plugins: Json | undefined): readonly { readonly stem: string; readonly waiting: Waiting }[] {
  if (!isObject(plugins)) return []
  return Object.keys(plugins).flatMap((stem) => {
    const waiting = readPlugin(plugins, stem)?.waiting ?? null
    return waiting === null ? [] : [{ stem, waiting }]
  })
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

function readManifest(manifest: JsonObject | null): Manifest | null {
  if (manifest === null) return null
  return {
    description: textOf(manifest, 'description') ?? '',
    series: named(manifest, 'series').map(({ name, entry }) => ({ name, description: textOf(entry, 'description') ?? '' })),
    commands: named(manifest, 'commands').map(({ name, entry }) => ({
      name,
      description: textOf(entry, 'description') ?? '',
      argumentsSchema: entry['argumentsSchema'] ?? {},
      dangerous: entry['dangerous'] === true,
      hold: entry['hold'] === true,
    })),
    requiredPorts: named(manifest, 'ports').flatMap(({ name, entry }) => (entry['required'] === true ? [name] : [])),
    sliceSchema: memberOf(manifest, 'sliceSchema'),
  }
}

function named(manifest: JsonObject, key: string): readonly { readonly name: string; readonly entry: JsonObject }[] {
  return listOf(manifest, key).flatMap((entry) => {
    const name = isObject(entry) ? textOf(entry, 'name') : undefined
    return isObject(entry) && name !== undefined ? [{ name, entry }] : []
  })
}
