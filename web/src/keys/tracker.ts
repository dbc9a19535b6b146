/** What a person does at this keyboard, as what is to happen at the other one. Pure. */

import { KEYS, MODIFIERS } from './codes'

/** A key goes down or up. */
export type KeyEvent = { readonly key: string; readonly down: boolean }

/** What counts of a `KeyboardEvent`. */
export interface KeyInput {
  readonly code: string
  readonly repeat: boolean
  readonly ctrlKey: boolean
  readonly altKey: boolean
  /** Whether AltGr is down, which some systems tell as Ctrl and Alt. */
  readonly altGraph: boolean
  /** When, in milliseconds on any clock. */
  readonly at: number
}

export type KeyDown =
  | { readonly kind: 'events'; readonly events: readonly KeyEvent[] }
  /** The way out was pressed. */
  | { readonly kind: 'leave' }
  /** There is no such key on a PC keyboard. */
  | { readonly kind: 'unknown' }

/**
 * The way out: Ctrl + Alt + the key with the full stop.
 *
 * Browsers and desktops leave it to the page: Ctrl+Alt with Escape, Delete, Tab, an arrow, a function key or a letter belongs to one desktop or
 * another, and Ctrl+full stop to input methods. No boot menu and no installer wants it, so a person does not miss it at the PC. A key that is pressed
 * twice, such as the right Ctrl, is not on every keyboard, and its first press would be one at the PC. AltGr does not count: on systems that tell it as
 * Ctrl and Alt, it would be the way out of somebody who types a character.
 */
export const LEAVE_KEY = 'Period'
export const LEAVE_WORDS = ['Ctrl', 'Alt', '.'] as const

/** Nobody presses two keys in such a time; a system that makes two of one does. */
const AT_ONCE_MS = 2

export class KeyTracker {
  private readonly down = new Set<string>()
  private controlAt = -Infinity

  /** Keys that are down here, in the order in which they were pressed. */
  pressed(): readonly string[] {
    return [...this.down]
  }

  keyDown(input: KeyInput): KeyDown {
    if (input.code === LEAVE_KEY && input.ctrlKey && input.altKey && !input.altGraph) return { kind: 'leave' }
    if (!KEYS.has(input.code)) return { kind: 'unknown' }
    // A keyboard repeats by itself what is held, and so does the PC with its own.
    if (input.repeat || this.down.has(input.code)) return { kind: 'events', events: [] }
    this.down.add(input.code)
    if (input.code === 'ControlLeft') this.controlAt = input.at
    // Windows puts a left Ctrl before AltGr that nobody has pressed. With it, AltGr is another key at the PC.
    const isDoubled = input.code === 'AltRight' && input.altGraph && input.at - this.controlAt < AT_ONCE_MS && this.down.delete('ControlLeft')
    return { kind: 'events', events: [...(isDoubled ? [up('ControlLeft')] : []), down(input.code)] }
  }

  keyUp(code: string): readonly KeyEvent[] {
    if (!this.down.delete(code)) {
      // Windows tells of this key only that it goes up.
      return code === 'PrintScreen' ? [down(code), up(code)] : []
    }
    // macOS says nothing of other keys that go up while Command is down: they would stay down for good.
    const forgotten = code.startsWith('Meta') ? [...this.down].filter((other) => !MODIFIERS.has(other)) : []
    for (const other of forgotten) this.down.delete(other)
    return [...forgotten, code].map(up)
  }

  /** Forgets everything: what is down here is not down there any more. */
  clear(): void {
    this.down.clear()
  }
}

function down(key: string): KeyEvent {
  return { key, down: true }
}

function up(key: string): KeyEvent {
  return { key, down: false }
}
