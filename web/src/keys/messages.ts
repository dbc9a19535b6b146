/**
 * Which message of key events holds which keys down. Each is a command of its own and a hold of its own: it has to be renewed until it was carried out, and
 * beyond that until the keys that it put down are up again. Pure.
 *
 * A message that puts keys down is not let go when the message with their release is sent, but when that was carried out: the driver does one thing after
 * the other, and a hold that is let go before its turn is a key that was never pressed.
 */

import { STRUCK } from './codes'
import type { KeyEvent } from './tracker'

interface Message {
  /** Keys that it put down and that nothing has let go for certain. */
  readonly down: Set<string>
  /** Those of them whose release was sent. */
  readonly releasing: Set<string>
  /** Keys that it lets go. */
  readonly up: ReadonlySet<string>
  isOver: boolean
}

export class KeyMessages {
  private readonly messages = new Map<number, Message>()
  private count = 0

  /** A message goes out. The answer is its number. */
  send(events: readonly KeyEvent[]): number {
    const down = new Set<string>()
    for (const event of events) {
      if (event.down && event.key !== STRUCK) down.add(event.key)
      else down.delete(event.key)
    }
    const up = new Set(events.filter((event) => !event.down).map(({ key }) => key))
    for (const earlier of this.messages.values()) {
      for (const key of up) if (earlier.down.has(key)) earlier.releasing.add(key)
    }
    this.count += 1
    this.messages.set(this.count, { down, releasing: new Set(), up, isOver: false })
    return this.count
  }

  /** A message was carried out, or was not. The answer is which holds are to be let go, because nothing else would release their keys. */
  over(number: number, succeeded: boolean): readonly number[] {
    const message = this.messages.get(number)
    if (message === undefined || message.isOver) return []
    message.isOver = true
    const letGo: number[] = succeeded || message.down.size === 0 ? [] : [number]
    for (const [other, earlier] of this.messages) {
      if (other >= number) break
      const released = [...message.up].filter((key) => earlier.down.has(key))
      if (released.length === 0) continue
      if (succeeded) for (const key of released) earlier.down.delete(key)
      else letGo.push(other)
    }
    return letGo
  }

  /** A hold has ended, by whichever side. The answer is which keys nobody here has let go: they are up at the PC all the same. */
  ended(number: number): readonly string[] {
    const message = this.messages.get(number)
    this.messages.delete(number)
    return message === undefined ? [] : [...message.down].filter((key) => !message.releasing.has(key))
  }

  /** Messages that have nothing to hold any more: they need no renewing. */
  finished(): readonly number[] {
    return [...this.messages].filter(([, { isOver, down }]) => isOver && down.size === 0).map(([number]) => number)
  }

  /** Messages that hold a key whose release was not sent. */
  holding(): readonly number[] {
    return [...this.messages].filter(([, { down, releasing }]) => [...down].some((key) => !releasing.has(key))).map(([number]) => number)
  }
}
