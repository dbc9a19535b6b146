/** Key events on their way to the daemon: in their order, many in one message, and never more messages than it takes. Pure. */

import type { KeyEvent } from './tracker'

/** At most one message in this time, however fast somebody types. */
export const GAP_MS = 50
/** What the driver takes in one message. */
export const EVENTS_PER_MESSAGE = 64
/** Ten seconds of both hands on a line that takes nothing. Beyond it keys do not go down any more; those that are down still come up. */
export const WAITING_LIMIT = 512

/** How many messages the daemon takes from this page: so many at once, and so many per second in the long run. Renewals count, too. */
export class MessageBudget {
  private tokens: number
  private countedAt = 0

  constructor(
    private readonly perS: number,
    private readonly burst: number,
  ) {
    this.tokens = burst
  }

  /** A message goes out, whatever is left. */
  spend(now: number): void {
    this.count(now)
    this.tokens = Math.max(0, this.tokens - 1)
  }

  /** How long until a message can go that leaves a third of the burst for what cannot wait: renewals, and letting go. */
  waitMs(now: number): number {
    this.count(now)
    const missing = 1 + this.burst / 3 - this.tokens
    return missing <= 0 ? 0 : Math.ceil((missing * 1_000) / this.perS)
  }

  private count(now: number): void {
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.countedAt) * this.perS) / 1_000)
    this.countedAt = now
  }
}

export class KeyBatcher {
  private waiting: KeyEvent[] = []
  private sentAt = -Infinity

  constructor(private readonly budget: MessageBudget) {}

  /** Puts events behind those that wait; false if one was left out because too many do. */
  add(events: readonly KeyEvent[]): boolean {
    const taken = events.filter(({ down }) => !down || this.waiting.length < WAITING_LIMIT)
    this.waiting.push(...taken)
    return taken.length === events.length
  }

  /** When something can be sent, or null if nothing waits. */
  wakeAt(now: number): number | null {
    if (this.waiting.length === 0) return null
    return Math.max(now + this.budget.waitMs(now), this.sentAt + GAP_MS)
  }

  /** The events of one message that goes out now; none if it is not time yet. Who sends it spends it. */
  take(now: number): readonly KeyEvent[] {
    const at = this.wakeAt(now)
    if (at === null || at > now) return []
    this.sentAt = now
    return this.waiting.splice(0, EVENTS_PER_MESSAGE)
  }

  /** Forgets what waits. */
  clear(): void {
    this.waiting = []
  }
}
