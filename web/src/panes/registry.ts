import type { Component } from 'vue'
import LogsPane from './LogsPane.vue'
import PowerMeterPane from './PowerMeterPane.vue'
import StatePane from './StatePane.vue'

export interface PaneKind {
  readonly component: Component
  /** How much of the page's height its row wants, relative to the others. */
  readonly share: number
}

const PANES: ReadonlyMap<string, PaneKind> = new Map([
  ['power-meter', { component: PowerMeterPane, share: 3 }],
  ['logs', { component: LogsPane, share: 2 }],
  ['state', { component: StatePane, share: 2 }],
])

/** The pane that a layout's `pane` names, or undefined for one that this page does not know. */
export function paneOf(name: string): PaneKind | undefined {
  return PANES.get(name)
}
