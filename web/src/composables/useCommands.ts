import { onBeforeUnmount, onMounted } from 'vue'
import { useClient } from '../bootstrap'
import { useCommands } from '../stores/commands'
import type { JsonObject } from '../wire/types'

/** Hears of all commands while the component is on the page. */
export function useFollowedCommands(): void {
  const client = useClient()
  let release: (() => void) | null = null
  onMounted(() => {
    release = client.followCommands()
  })
  onBeforeUnmount(() => release?.())
}

interface SendOptions {
  /** Of an earlier attempt at the same. */
  readonly key?: string
  /** How long it may take; the daemon's own time if nothing is said. */
  readonly deadlineMs?: number
}

/** Sends commands, and keeps in the store what becomes of each wish. */
export function useCommander() {
  const client = useClient()
  const commands = useCommands()

  async function send(device: string, name: string, args: JsonObject, { key = newKey(), deadlineMs }: SendOptions = {}): Promise<void> {
    const deadline = deadlineMs === undefined ? {} : { deadlineMs }
    commands.setWish(device, name, { args, key, ...deadline, state: 'asked' })
    const answer = await client.ask({ type: 'command', device, name, args, idempotencyKey: key, ...deadline })
    // Somebody may have sent it once more meanwhile; then that is the wish.
    if (commands.wishOf(device, name)?.key !== key) return
    if (answer.ok && answer.commandId !== null) commands.setWish(device, name, { key, state: 'taken', commandId: answer.commandId })
    else if (answer.ok) commands.setWish(device, name, { key, state: 'refused', code: 'bad-answer', message: 'The daemon took it without giving it a name.' })
    else if (answer.code === 'link-lost') commands.setWish(device, name, { args, key, ...deadline, state: 'unsure' })
    else commands.setWish(device, name, { key, state: 'refused', code: answer.code, message: answer.message })
  }

  /** Asks once more for what nobody knows whether it arrived. The key makes it the same command: it is done at most once. */
  async function sendAgain(device: string, name: string): Promise<void> {
    const wish = commands.wishOf(device, name)
    if (wish?.state === 'unsure') await send(device, name, wish.args, wish)
  }

  /** Null, or why it was not even asked for. */
  async function cancel(commandId: string): Promise<string | null> {
    const answer = await client.ask({ type: 'command.cancel', commandId })
    return answer.ok ? null : `${answer.message} (${answer.code})`
  }

  return { send, sendAgain, cancel }
}

/** 128 random bits. `randomUUID` is missing on pages that come over plain HTTP from another machine. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
