import type { Component } from 'vue'
import CommandsPane from './CommandsPane.vue'
import DevicePane from './DevicePane.vue'
import FrontPanelPane from './FrontPanelPane.vue'
import KeyboardPane from './KeyboardPane.vue'
import LogsPane from './LogsPane.vue'
import PowerMeterPane from './PowerMeterPane.vue'
import StatePane from './StatePane.vue'

export interface PaneKind {
  readonly component: Component
  /** How much of the page's height its row wants, relative to the others; 0 for a row that is as high as what it shows. */
  readonly share: number
}

/** Panes that were written for one type of device; its driver says the type. */
const DEVICE_PANES: ReadonlyMap<string, PaneKind> = new Map<string, PaneKind>([
  ['power-meter', { component: PowerMeterPane, share: 3 }],
  ['atx', { component: FrontPanelPane, share: 0 }],
  ['keyboard', { component: KeyboardPane, share: 0 }],
])

/** The pane of the bench's commands; the page adds it where the layout does not name it and some device takes commands. */
export const COMMANDS_NAME = 'commands'

/** Panes of the bench as a whole. */
const BENCH_PANES: ReadonlyMap<string, PaneKind> = new Map([
  [COMMANDS_NAME, { component: CommandsPane, share: 2 }],
  ['logs', { component: LogsPane, share: 2 }],
  ['state', { component: StatePane, share: 2 }],
])

const GENERIC: PaneKind = { component: DevicePane, share: 0 }

/** A layout's pane of this name asks for the generic pane, whatever the device is. */
const GENERIC_NAME = 'device'

/**
 * The pane for a place of the layout: the one that it names, else the one for the type of its device, else the generic one, which shows any
 * device by its driver's manifest. Undefined for a name that means nothing here where there is no device either.
 */
export function paneFor(name: string, place: { readonly hasDevice: boolean; readonly type: string | null }): PaneKind | undefined {
  if (name === GENERIC_NAME) return GENERIC
  const named = DEVICE_PANES.get(name) ?? BENCH_PANES.get(name)
  if (named !== undefined || !place.hasDevice) return named
  return (place.type === null ? undefined : DEVICE_PANES.get(place.type)) ?? GENERIC
}

/** Whether a pane of this name is about the bench and not about the device or slice beside it. */
export function isBenchPane(name: string): boolean {
  return BENCH_PANES.has(name)
}
