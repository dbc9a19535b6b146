/** The keys of a PC keyboard, as `KeyboardEvent.code` names them. The keyboard's driver knows these and refuses a whole message for any other. */

const LETTERS = Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZ', (letter) => `Key${letter}`)
const DIGITS = Array.from('0123456789')

export const MODIFIERS: ReadonlySet<string> = new Set(['ControlLeft', 'ControlRight', 'ShiftLeft', 'ShiftRight', 'AltLeft', 'AltRight', 'MetaLeft', 'MetaRight'])

export const KEYS: ReadonlySet<string> = new Set([
  ...LETTERS,
  ...DIGITS.map((digit) => `Digit${digit}`),
  ...DIGITS.map((digit) => `Numpad${digit}`),
  ...Array.from({ length: 12 }, (_, index) => `F${index + 1}`),
  ...MODIFIERS,
  ...['Space', 'Enter', 'Tab', 'Backspace', 'Escape', 'Minus', 'Equal', 'BracketLeft', 'BracketRight', 'Backslash', 'Semicolon', 'Quote', 'Comma', 'Period', 'Slash'],
  ...['Backquote', 'IntlBackslash', 'ContextMenu', 'ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight', 'Home', 'End', 'PageUp', 'PageDown', 'Insert', 'Delete'],
  ...['CapsLock', 'NumLock', 'ScrollLock', 'NumpadDecimal', 'NumpadAdd', 'NumpadSubtract', 'NumpadMultiply', 'NumpadDivide', 'NumpadEnter', 'PrintScreen', 'Pause'],
])

/** A keyboard has no code for its release, so it is struck when it goes down, and cannot be held. */
export const STRUCK = 'Pause'

/** A key as a person reads it: "A", "Left Ctrl", "Page up". */
export function keyName(code: string): string {
  const plain = /^(?:Key|Digit)(.)$/.exec(code)?.[1]
  if (plain !== undefined) return plain
  const sided = /^(Control|Shift|Alt|Meta)(Left|Right)$/.exec(code)
  if (sided !== null) return `${sided[2]} ${sided[1] === 'Control' ? 'Ctrl' : sided[1]}`
  return code.replace(/([a-z])([A-Z0-9])/g, (_, before: string, after: string) => `${before} ${after.toLowerCase()}`)
}
