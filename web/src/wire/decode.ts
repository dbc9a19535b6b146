/**
 * The border between the socket and the page: text in, a typed frame or a named fault out. Nothing behind this file sees an
 * unchecked frame. Unknown fields are tolerated, unknown types are a fault of their own so that a newer daemon can be told from
 * a broken one.
 */

import { LEVELS } from './types'
import type {
  AckFrame,
  CommandRecord,
  CommandStage,
  CommandStatusFrame,
  ErrorFrame,
  Json,
  JsonObject,
  Level,
  LogEntry,
  LogsFrame,
  MessageLimits,
  PatchFrame,
  PatchOperation,
  PongFrame,
  Sample,
  SeqRange,
  ServerFrame,
  SnapshotFrame,
  TelemetryFrame,
  WelcomeFrame,
} from './types'

export type WireFault =
  | { readonly kind: 'not-json' }
  | { readonly kind: 'not-an-object' }
  | { readonly kind: 'unknown-type'; readonly type: string }
  | { readonly kind: 'bad-field'; readonly type: string; readonly field: string }

export type Decoded = { readonly ok: true; readonly frame: ServerFrame } | { readonly ok: false; readonly fault: WireFault }

/** Decodes one message of the socket. */
export function decodeFrame(text: string): Decoded {
  let raw: Json
  try {
    // JSON.parse yields nothing but JSON; this is the one place where its `any` gets a type.
    raw = JSON.parse(text) as Json
  } catch {
    return { ok: false, fault: { kind: 'not-json' } }
  }
  if (!isObject(raw)) return { ok: false, fault: { kind: 'not-an-object' } }
  const type = typeof raw['type'] === 'string' ? raw['type'] : ''
  const decoder = DECODERS.get(type)
  if (!decoder) return { ok: false, fault: { kind: 'unknown-type', type } }
  try {
    return { ok: true, frame: decoder(raw) }
  } catch (error) {
    if (error instanceof BadField) return { ok: false, fault: { kind: 'bad-field', type, field: error.field } }
    throw error
  }
}

/** A fault as one line for people. */
export function describeFault(fault: WireFault): string {
  switch (fault.kind) {
    case 'not-json':
      return 'a message that is not JSON'
    case 'not-an-object':
      return 'a message that is not a JSON object'
    case 'unknown-type':
      return `a message of unknown type "${fault.type}"`
    case 'bad-field':
      return `a ${fault.type} message with a bad ${fault.field}`
  }
}

/** One command as the daemon tells it over HTTP, which is what the socket says of it; null for what is none. */
export function decodeCommand(raw: Json): CommandRecord | null {
  if (!isObject(raw)) return null
  try {
    return decodeCommandStatus(raw).record
  } catch (error) {
    if (error instanceof BadField) return null
    throw error
  }
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isLevel(value: Json | undefined): value is Level {
  return typeof value === 'string' && (LEVELS as readonly string[]).includes(value)
}

/** Thrown by the field readers and caught in `decodeFrame` and `decodeCommand`, nowhere else. */
class BadField extends Error {
  constructor(readonly field: string) {
    super(field)
  }
}

const DECODERS: ReadonlyMap<string, (raw: JsonObject) => ServerFrame> = new Map<string, (raw: JsonObject) => ServerFrame>([
  ['welcome', decodeWelcome],
  ['state.snapshot', decodeSnapshot],
  ['state.patch', decodePatch],
  ['logs.history', decodeLogs('logs.history')],
  ['logs.append', decodeLogs('logs.append')],
  ['telemetry', decodeTelemetry],
  ['pong', decodePong],
  ['ack', decodeAck],
  ['error', decodeError],
  ['event', () => ({ type: 'event' })],
  ['alarm', () => ({ type: 'alarm' })],
  ['command_status', decodeCommandStatus],
  ['connected', () => ({ type: 'connected' })],
  ['client_identified', () => ({ type: 'client_identified' })],
  ['initial_execution_state', () => ({ type: 'initial_execution_state' })],
  ['block_started_enhanced', () => ({ type: 'block_started_enhanced' })],
  ['block_executed_enhanced', () => ({ type: 'block_executed_enhanced' })],
])

function decodeWelcome(raw: JsonObject): WelcomeFrame {
  return {
    type: 'welcome',
    protocol: text(raw, 'protocol'),
    serverTime: text(raw, 'serverTime'),
    serverVersion: text(raw, 'serverVersion'),
    bootId: text(raw, 'bootId'),
    clientId: text(raw, 'clientId'),
    resumed: raw['resumed'] === true,
    authRequired: raw['authRequired'] === true,
    limits: decodeLimits(raw['limits']),
  }
}

/** A daemon that says no limits has those that daemons have by themselves. */
function decodeLimits(raw: Json | undefined): MessageLimits {
  const limit = (field: string, fallback: number) => Math.max(1, (isObject(raw) ? optionalNumber(raw, field) : undefined) ?? fallback)
  return { messagesPerS: limit('messagesPerS', 10), messageBurst: limit('messageBurst', 20) }
}

function decodeSnapshot(raw: JsonObject): SnapshotFrame {
  const data = raw['data']
  if (!isObject(data)) throw new BadField('data')
  const stateVersion = count(raw, 'stateVersion')
  if (data['version'] !== stateVersion) throw new BadField('data.version')
  return { type: 'state.snapshot', bootId: text(raw, 'bootId'), stateVersion, data }
}

function decodePatch(raw: JsonObject): PatchFrame {
  const fromVersion = count(raw, 'fromVersion')
  const toVersion = count(raw, 'toVersion')
  if (toVersion < fromVersion) throw new BadField('toVersion')
  return { type: 'state.patch', fromVersion, toVersion, patch: list(raw, 'patch').map(decodeOperation) }
}

function decodeOperation(raw: Json, index: number): PatchOperation {
  const field = `patch[${index}]`
  if (!isObject(raw)) throw new BadField(field)
  const { op, path, from, value } = raw
  if (typeof path !== 'string') throw new BadField(`${field}.path`)
  switch (op) {
    case 'add':
    case 'replace':
    case 'test':
      if (value === undefined) throw new BadField(`${field}.value`)
      return { op, path, value }
    case 'remove':
      return { op, path }
    case 'move':
    case 'copy':
      if (typeof from !== 'string') throw new BadField(`${field}.from`)
      return { op, path, from }
    default:
      throw new BadField(`${field}.op`)
  }
}

function decodeLogs(type: LogsFrame['type']): (raw: JsonObject) => LogsFrame {
  return (raw) => {
    const fromSeq = count(raw, 'fromSeq')
    // An empty history that starts at 0 ends at -1.
    const toSeq = whole(raw, 'toSeq')
    if (toSeq < fromSeq - 1) throw new BadField('toSeq')
    const entries = list(raw, 'entries').map(decodeEntry)
    const missed = raw['missed']
    if (missed === undefined || missed === null) return { type, fromSeq, toSeq, entries }
    return { type, fromSeq, toSeq, entries, missed: decodeRange(missed) }
  }
}

function decodeRange(raw: Json): SeqRange {
  if (!isObject(raw)) throw new BadField('missed')
  return { fromSeq: whole(raw, 'fromSeq'), toSeq: whole(raw, 'toSeq') }
}

function decodeEntry(raw: Json, index: number): LogEntry {
  if (!isObject(raw)) throw new BadField(`entries[${index}]`)
  const level = raw['level']
  if (!isLevel(level)) throw new BadField(`entries[${index}].level`)
  return {
    seq: count(raw, 'seq'),
    ts: number(raw, 'ts'),
    channel: text(raw, 'channel'),
    emoji: optionalText(raw, 'emoji') ?? '',
    level,
    message: text(raw, 'message'),
    color: optionalText(raw, 'color') ?? '',
    ...optional('tag', optionalText(raw, 'tag')),
    ...optional('module', optionalText(raw, 'module')),
  }
}

function decodeTelemetry(raw: JsonObject): TelemetryFrame {
  const endpointId = count(raw, 'endpointId')
  return {
    type: 'telemetry',
    endpointId,
    endpoint: optionalText(raw, 'endpoint') ?? `endpoint ${endpointId}`,
    unit: optionalText(raw, 'unit') ?? '',
    samples: raw['samples'] === undefined ? [loneSample(raw)] : list(raw, 'samples').map(decodeSample),
  }
}

function decodeSample(raw: Json, index: number): Sample {
  if (!isArray(raw)) throw new BadField(`samples[${index}]`)
  const [timestampMs, value] = raw
  if (!isFinite(timestampMs) || !isFinite(value)) throw new BadField(`samples[${index}]`)
  return [timestampMs, value]
}

/** A telemetry frame without a batch says its one sample as `value` and `timestamp`. */
function loneSample(raw: JsonObject): Sample {
  const timestampMs = Date.parse(text(raw, 'timestamp'))
  if (Number.isNaN(timestampMs)) throw new BadField('timestamp')
  return [timestampMs, number(raw, 'value')]
}

function decodePong(raw: JsonObject): PongFrame {
  const ts = raw['ts']
  return isFinite(ts) ? { type: 'pong', ts } : { type: 'pong' }
}

function decodeAck(raw: JsonObject): AckFrame {
  return { type: 'ack', ok: raw['ok'] !== false, ...optional('id', messageId(raw)), ...optional('commandId', optionalText(raw, 'commandId')) }
}

function decodeError(raw: JsonObject): ErrorFrame {
  return {
    type: 'error',
    code: text(raw, 'code'),
    message: optionalText(raw, 'message') ?? '',
    ...optional('id', messageId(raw)),
  }
}

function decodeCommandStatus(raw: JsonObject): CommandStatusFrame {
  const status = raw['status']
  if (!isStage(status)) throw new BadField('status')
  const progress = raw['progress']
  const record: CommandRecord = {
    commandId: text(raw, 'commandId'),
    device: text(raw, 'device'),
    name: text(raw, 'name'),
    actor: text(raw, 'actor'),
    status,
    queuedAt: text(raw, 'queuedAt'),
    deadlineAt: text(raw, 'deadlineAt'),
    ...optional('reason', optionalText(raw, 'reason')),
    ...optional('actualValue', raw['actualValue']),
    ...optional('progress', isObject(progress) ? { message: text(progress, 'message'), ...optional('share', optionalNumber(progress, 'share')) } : undefined),
    ...optional('sentAt', optionalText(raw, 'sentAt')),
    ...optional('ackedAt', optionalText(raw, 'ackedAt')),
    ...optional('completedAt', optionalText(raw, 'completedAt')),
  }
  return { type: 'command_status', record }
}

const STAGES = ['queued', 'sent', 'acked', 'succeeded', 'failed', 'blocked', 'expired', 'cancelled'] as const satisfies readonly CommandStage[]

function isStage(value: Json | undefined): value is CommandStage {
  return typeof value === 'string' && (STAGES as readonly string[]).includes(value)
}

function messageId(raw: JsonObject): string | number | undefined {
  const id = raw['id']
  return typeof id === 'string' || typeof id === 'number' ? id : undefined
}

function isArray(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value)
}

function isFinite(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

function text(raw: JsonObject, field: string): string {
  const value = raw[field]
  if (typeof value !== 'string') throw new BadField(field)
  return value
}

function optionalText(raw: JsonObject, field: string): string | undefined {
  const value = raw[field]
  return typeof value === 'string' ? value : undefined
}

function optionalNumber(raw: JsonObject, field: string): number | undefined {
  const value = raw[field]
  return isFinite(value) ? value : undefined
}

function number(raw: JsonObject, field: string): number {
  const value = raw[field]
  if (!isFinite(value)) throw new BadField(field)
  return value
}

function whole(raw: JsonObject, field: string): number {
  const value = number(raw, field)
  if (!Number.isSafeInteger(value)) throw new BadField(field)
  return value
}

function count(raw: JsonObject, field: string): number {
  const value = whole(raw, field)
  if (value < 0) throw new BadField(field)
  return value
}

function list(raw: JsonObject, field: string): readonly Json[] {
  const value = raw[field]
  if (!isArray(value)) throw new BadField(field)
  return value
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { [P in K]?: V }
}
