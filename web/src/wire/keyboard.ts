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
  /** The layout of texts that name none, where the driver says it. */
  readonly layout: string | null
  /** Those that a text can name. */
  readonly layouts: readonly Layout[]
  /** Names of the macros of the settings, where the driver says them. */
  readonly macros: readonly string[]
}

/** A layout of the driver's: its name in commands, and for a person. */
export interface Layout {
  readonly name: string
  readonly title: string
}

function readLayouts(value: Json | undefined): Layout[] {
  const all: readonly Json[] = Array.isArray(value) ? value : []
  return all.filter(isObject).flatMap((one) => {
    const name = textOf(one, 'name')
    return name === undefined ? [] : [{ name, title: textOf(one, 'title') ?? name }]
  })
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
    layout: textOf(value, 'layout') ?? null,
    layouts: readLayouts(value['layouts']),
    macros: textsOf(value['macros']),
  }
}
