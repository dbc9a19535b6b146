/** Runs a `Hold` on real time and a real connection. */

import type { Client } from '../socket/client'
import type { JsonObject } from '../wire/types'
import { Hold } from './hold'
import type { HoldEvent, HoldView } from './hold'

export interface HoldRunner {
  readonly view: () => HoldView
  /** Asks for the hold; false while another one is under way. */
  readonly begin: (args: JsonObject) => boolean
  readonly letGo: () => void
  /** The command ended by itself, without anything to hold. */
  readonly over: (commandId: string, why: string) => void
  readonly linkGone: () => void
}

export interface HoldOptions {
  readonly device: string
  readonly command: string
  /** After every event that this page did not cause itself, and after those that it did. */
  readonly changed: (view: HoldView) => void
  /** Before each message: somebody counts them. */
  readonly sending?: () => void
}

export function runHold(client: Pick<Client, 'ask'>, options: HoldOptions): HoldRunner {
  const hold = new Hold()
  let args: JsonObject = {}
  let timer: ReturnType<typeof setTimeout> | undefined

  function dispatch(event: HoldEvent): void {
    for (const effect of hold.step(event, performance.now())) {
      options.sending?.()
      if (effect.kind === 'ask') void ask()
      else if (effect.kind === 'renew') void renew(effect.commandId)
      // Whether it was still held when it was let go makes no difference to anybody.
      else void client.ask({ type: 'lease.end', commandId: effect.commandId })
    }
    clearTimeout(timer)
    const at = hold.wakeAt()
    if (at !== null) timer = setTimeout(() => dispatch({ kind: 'wake' }), Math.max(0, at - performance.now()))
    options.changed(hold.view())
  }

  async function ask(): Promise<void> {
    // Without a key: a hold that nobody knows of is over in a moment, so it is never asked for again.
    const answer = await client.ask({ type: 'command', device: options.device, name: options.command, args })
    if (answer.ok && answer.commandId !== null) dispatch({ kind: 'taken', commandId: answer.commandId })
    else if (answer.ok) dispatch({ kind: 'refused', code: 'bad-answer', message: 'The daemon took it without giving it a name.' })
    else if (answer.code === 'link-lost') dispatch({ kind: 'link-gone' })
    else dispatch({ kind: 'refused', code: answer.code, message: answer.message })
  }

  async function renew(commandId: string): Promise<void> {
    const answer = await client.ask({ type: 'lease.renew', commandId })
    if (!answer.ok) dispatch({ kind: 'not-renewed', commandId, code: answer.code, message: answer.message })
  }

  return {
    view: () => hold.view(),
    begin(wanted) {
      if (hold.view().phase !== 'idle') return false
      args = wanted
      dispatch({ kind: 'begin' })
      return true
    },
    letGo: () => dispatch({ kind: 'let-go' }),
    over: (commandId, why) => dispatch({ kind: 'over', commandId, why }),
    linkGone: () => dispatch({ kind: 'link-gone' }),
  }
}
