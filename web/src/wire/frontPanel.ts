/** A typed look at the slice of a front panel. What is not there, or not that, is null or unknown, and the pane says so. */

import { isObject } from './decode'
import { listOf, memberOf, numberOf, textOf } from './read'
import type { Json, JsonObject } from './types'

export type OnOff = 'on' | 'off' | 'unknown'

export const BUTTONS = ['power', 'reset'] as const
export type PanelButton = (typeof BUTTONS)[number]

/** Something that is done, or was. Both devices with a queue tell it in one form; only their times differ. */
export interface Operation {
  /** Of its command; null for what the driver does by itself. */
  readonly id: string | null
  readonly kind: string
  readonly status: string
  /** In milliseconds since 1970; null if it cannot be read. */
  readonly createdAt: number | null
  readonly requestedBy: string
  readonly label: string
  readonly reason: string | null
}

export interface Fault {
  readonly at: number | null
  readonly scope: string
  readonly message: string
}

export interface FrontPanel {
  readonly phase: string
  readonly message: string | null
  readonly powerSense: OnOff
  readonly hddActive: boolean | null
  /** Whether the contact of each button is closed; null while nobody knows. */
  readonly held: Readonly<Record<PanelButton, boolean | null>>
  readonly queueDepth: number | null
  readonly currentOp: Operation | null
  /** The newest that is over. */
  readonly lastOp: Operation | null
  readonly lastError: Fault | null
}

export function readFrontPanel(value: Json | undefined): FrontPanel | undefined {
  if (!isObject(value)) return undefined
  const phase = textOf(value, 'phase')
  if (phase === undefined) return undefined
  return {
    phase,
    message: textOf(value, 'message') ?? null,
    powerSense: readOnOff(value, 'powerSense'),
    hddActive: readFlag(value, 'hddActive'),
    held: { power: readFlag(value, 'powerButtonHeld'), reset: readFlag(value, 'resetButtonHeld') },
    queueDepth: numberOf(value, 'queueDepth'),
    currentOp: readOperation(memberOf(value, 'currentOp')),
    lastOp: readNewest(value, 'operationHistory'),
    lastError: readFault(memberOf(value, 'lastError')),
  }
}

export function readOnOff(slice: JsonObject, key: string): OnOff {
  const text = textOf(slice, key)
  return text === 'on' || text === 'off' ? text : 'unknown'
}

export function readFlag(slice: JsonObject, key: string): boolean | null {
  const value = slice[key]
  return typeof value === 'boolean' ? value : null
}

/** The last of a list of operations. */
export function readNewest(slice: JsonObject, key: string): Operation | null {
  const newest = listOf(slice, key).at(-1)
  return isObject(newest) ? readOperation(newest) : null
}

export function readOperation(operation: JsonObject | null): Operation | null {
  if (operation === null) return null
  const kind = textOf(operation, 'kind') ?? 'unknown'
  return {
    id: textOf(operation, 'id') ?? null,
    kind,
    status: textOf(operation, 'status') ?? 'unknown',
    createdAt: readTime(operation['createdAt']),
    requestedBy: textOf(operation, 'requestedBy') ?? '',
    label: textOf(operation, 'label') ?? kind,
    reason: textOf(operation, 'reason') ?? null,
  }
}

export function readFault(fault: JsonObject | null): Fault | null {
  const message = textOf(fault, 'message')
  if (fault === null || message === undefined) return null
  return { at: readTime(fault['at']), scope: textOf(fault, 'scope') ?? 'unknown', message }
}

/** Milliseconds since 1970, or a text in ISO 8601. */
function readTime(value: Json | undefined): number | null {
  const at = typeof value === 'string' ? Date.parse(value) : value
  return typeof at === 'number' && Number.isFinite(at) ? at : null
}
