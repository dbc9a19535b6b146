/** A typed look at the slice of a keyboard. */

import { isObject } from './decode'
import { readFault, readFlag, readNewest, readOnOff, readOperation } from './frontPanel'
import type { Fault, OnOff, Operation } from './frontPanel'
import { memberOf, numberOf, textOf, textsOf } from './read'
import type { Json } from './types'

export const LIGHTS = ['num', 'caps', 'scroll'] as const
export type Light = (typeof LIGHTS)[number]

export interface Keyboard {
  readonly phase: string
  readonly message: string | null
  /** The pin that tells the mouse adapter whether the PC is on. */
  readonly power: OnOff
  /** Whether the PC has power, as the front panel says. */
  readonly powerSense: OnOff
  /** Null while the PC has set none. */
  readonly lights: Readonly<Record<Light, boolean | null>> | null
  readonly heldKeys: readonly string[]
  readonly queueDepth: number | null
  readonly currentOp: Operation | null
  readonly lastOp: Operation | null
  readonly lastError: Fault | null
  /** Names of the macros of the settings, where the driver says them. */
  readonly macros: readonly string[]
}

export function readKeyboard(value: Json | undefined): Keyboard | undefined {
  if (!isObject(value)) return undefined
  const phase = textOf(value, 'phase')
  if (phase === undefined) return undefined
  const lights = memberOf(value, 'lights')
  return {
    phase,
    message: textOf(value, 'message') ?? null,
    power: readOnOff(value, 'power'),
    powerSense: readOnOff(value, 'powerSense'),
    lights: lights === null ? null : { num: readFlag(lights, 'num'), caps: readFlag(lights, 'caps'), scroll: readFlag(lights, 'scroll') },
    heldKeys: textsOf(value['heldKeys']),
    queueDepth: numberOf(value, 'queueDepth'),
    currentOp: readOperation(memberOf(value, 'currentOp')),
    lastOp: readNewest(value, 'operationHistory'),
    lastError: readFault(memberOf(value, 'lastError')),
    macros: textsOf(value['macros']),
  }
}
