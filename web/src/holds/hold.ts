/**
 * One hold of this page: a command whose effect lasts only while this page says so. Events and the time go in, effects come out, and `wakeAt`
 * says when to come back. Pure.
 *
 *     idle --begin--> asked --taken--> held --let-go--> idle
 *     asked --let-go--> leaving --taken--> idle                    it ends as soon as it has a name
 *     asked, leaving --refused--> idle;  held --not renewed, over--> idle;  any --link-gone--> idle
 *
 * There is one at a time: `begin` does nothing while another one is under way, and that includes one that was let go before it was taken.
 */

/** How often the page says that it still holds. The daemon ends what was not renewed for three times as long. */
export const RENEW_MS = 500

/** After this a renewal is tried again that came while the daemon took no more messages. */
const RENEW_AGAIN_MS = 250

export type HoldPhase = 'idle' | 'asked' | 'held' | 'leaving'

export type HoldEvent =
  | { readonly kind: 'begin' }
  /** The daemon has taken the command. */
  | { readonly kind: 'taken'; readonly commandId: string }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  | { readonly kind: 'let-go' }
  | { readonly kind: 'not-renewed'; readonly commandId: string; readonly code: string; readonly message: string }
  /** The command has ended by itself, and there is nothing to hold. */
  | { readonly kind: 'over'; readonly commandId: string; readonly why: string }
  /** Without the socket the daemon ends it. */
  | { readonly kind: 'link-gone' }
  | { readonly kind: 'wake' }

export type HoldEffect =
  | { readonly kind: 'ask' }
  | { readonly kind: 'renew'; readonly commandId: string }
  | { readonly kind: 'end'; readonly commandId: string }

/** How the newest hold ended. */
export interface HoldEnd {
  /** `let-go` is what was wanted. */
  readonly how: 'let-go' | 'refused' | 'over' | 'link-gone'
  /** The daemon's code, if it had one. */
  readonly code: string | null
  /** For a person; empty when it was let go. */
  readonly why: string
  /** How long it was held, as far as this page knows. */
  readonly heldMs: number
}

/** How a hold is, for whoever shows it. */
export interface HoldView {
  readonly phase: HoldPhase
  /** Null before it was taken. */
  readonly commandId: string | null
  /** On the clock of `step`; null before it was taken. */
  readonly heldSince: number | null
  /** Of the newest one; null while one is under way. */
  readonly end: HoldEnd | null
}

export class Hold {
  private phase: HoldPhase = 'idle'
  private commandId: string | null = null
  private askedAt = 0
  private heldSince: number | null = null
  private renewAt: number | null = null
  private end: HoldEnd | null = null

  view(): HoldView {
    return { phase: this.phase, commandId: this.commandId, heldSince: this.heldSince, end: this.end }
  }

  /** When `wake` is due, or null if nothing is. */
  wakeAt(): number | null {
    return this.renewAt
  }

  /** Takes one event at monotonic time `now` (milliseconds) and says what to do about it, in order. */
  step(event: HoldEvent, now: number): readonly HoldEffect[] {
    switch (event.kind) {
      case 'begin':
        if (this.phase !== 'idle') return []
        this.phase = 'asked'
        this.askedAt = now
        this.end = null
        return [{ kind: 'ask' }]
      case 'taken':
        return this.taken(event.commandId, now)
      case 'refused':
        if (this.phase === 'asked' || this.phase === 'leaving') this.finish('refused', now, event.message, event.code)
        return []
      case 'let-go':
        return this.letGo(now)
      case 'not-renewed':
        return this.isHeld(event.commandId) ? this.notRenewed(event.commandId, event.code, event.message, now) : []
      case 'over':
        if (this.isHeld(event.commandId)) this.finish('over', now, event.why)
        return []
      case 'link-gone':
        if (this.phase !== 'idle') this.finish('link-gone', now, 'The connection broke, so the daemon lets go.')
        return []
      case 'wake':
        return this.wake(now)
    }
  }

  private taken(commandId: string, now: number): readonly HoldEffect[] {
    if (this.phase === 'leaving') {
      this.finish('let-go', now)
      return [{ kind: 'end', commandId }]
    }
    if (this.phase !== 'asked') return []
    this.phase = 'held'
    this.commandId = commandId
    this.heldSince = now
    // The daemon counts from when it took the command, which was before its answer was here.
    this.renewAt = this.askedAt + RENEW_MS
    return this.wake(now)
  }

  private letGo(now: number): readonly HoldEffect[] {
    if (this.phase === 'asked') this.phase = 'leaving'
    if (this.phase !== 'held' || this.commandId === null) return []
    const { commandId } = this
    this.finish('let-go', now)
    return [{ kind: 'end', commandId }]
  }

  private notRenewed(commandId: string, code: string, message: string, now: number): readonly HoldEffect[] {
    switch (code) {
      case 'rate-limited':
        this.renewAt = Math.min(this.renewAt ?? Infinity, now + RENEW_AGAIN_MS)
        return []
      case 'unknown-lease':
        this.finish('over', now, 'The daemon does not hold it any more: its longest time is over, or it was not renewed in time.', code)
        return []
      case 'link-lost':
      case 'not-connected':
        return this.step({ kind: 'link-gone' }, now)
      default:
        this.finish('over', now, message, code)
        // Nobody knows whether it stands, and nobody will renew it.
        return [{ kind: 'end', commandId }]
    }
  }

  private wake(now: number): readonly HoldEffect[] {
    if (this.phase !== 'held' || this.commandId === null || this.renewAt === null || this.renewAt > now) return []
    // From now, not from when it was due: a page that slept does not catch up on renewals.
    this.renewAt = now + RENEW_MS
    return [{ kind: 'renew', commandId: this.commandId }]
  }

  private isHeld(commandId: string): boolean {
    return this.phase === 'held' && this.commandId === commandId
  }

  private finish(how: HoldEnd['how'], now: number, why = '', code: string | null = null): void {
    this.end = { how, code, why, heldMs: this.heldSince === null ? 0 : now - this.heldSince }
    this.phase = 'idle'
    this.commandId = null
    this.heldSince = null
    this.renewAt = null
  }
}
