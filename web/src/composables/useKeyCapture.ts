import { onBeforeUnmount, readonly, ref, shallowRef, watch } from 'vue'
import { useClient } from '../bootstrap'
import { runHold } from '../holds/runner'
import type { HoldRunner } from '../holds/runner'
import type { HoldView } from '../holds/hold'
import { KeyBatcher, MessageBudget } from '../keys/batch'
import { keyName } from '../keys/codes'
import { KeyMessages } from '../keys/messages'
import { KeyTracker } from '../keys/tracker'
import type { KeyEvent } from '../keys/tracker'
import { outcomeOf } from '../panes/life'
import { isOver, useCommands } from '../stores/commands'
import { isConnected, useLink } from '../stores/link'
import { onPageLeft } from './useHold'

export const KEYS_COMMAND = 'keys'

export interface UseKeyCaptureOptions {
  readonly device: () => string
  /** Why no key can be sent now, or null. The capture ends then. */
  readonly blocked: () => string | null
}

/**
 * Passes the keys of this keyboard on to the PC's while it captures. Whatever is down there is let go when the capture ends, and it ends with the page, its
 * visibility, the component and the socket by itself. Whoever shows it has to follow the commands.
 */
export function useKeyCapture(options: UseKeyCaptureOptions) {
  const client = useClient()
  const commands = useCommands()
  const link = useLink()

  const capturing = ref(false)
  /** Keys that are down here. */
  const pressed = shallowRef<readonly string[]>([])
  /** What a person has to know of the newest trouble. */
  const problem = ref<string | null>(null)

  const tracker = new KeyTracker()
  const messages = new KeyMessages()
  const runners = new Map<number, HoldRunner>()
  let budget = newBudget()
  let batcher = new KeyBatcher(budget)
  let timer: ReturnType<typeof setTimeout> | undefined

  function newBudget(): MessageBudget {
    return new MessageBudget(link.limits.messagesPerS, link.limits.messageBurst)
  }

  function capture(): void {
    if (capturing.value || options.blocked() !== null) return
    budget = newBudget()
    batcher = new KeyBatcher(budget)
    problem.value = null
    capturing.value = true
  }

  /** Nothing more is passed on, and what is down at the PC comes up. */
  function leave(): void {
    if (!capturing.value) return
    capturing.value = false
    clearTimeout(timer)
    batcher.clear()
    tracker.clear()
    pressed.value = []
    letGo(messages.holding())
  }

  function keyDown(event: KeyboardEvent): void {
    const { code, repeat, ctrlKey, altKey, timeStamp: at } = event
    const result = tracker.keyDown({ code, repeat, ctrlKey, altKey, altGraph: event.getModifierState('AltGraph'), at })
    if (result.kind === 'unknown') {
      // Left to the browser: keys for the volume and the like are for this computer.
      problem.value = `A PC keyboard has no key “${event.key}”${code === '' ? '' : ` (${code})`}: it was not sent.`
      return
    }
    event.preventDefault()
    event.stopPropagation()
    if (result.kind === 'leave') leave()
    else pass(result.events)
  }

  function keyUp(event: KeyboardEvent): void {
    event.preventDefault()
    event.stopPropagation()
    pass(tracker.keyUp(event.code))
  }

  function pass(events: readonly KeyEvent[]): void {
    if (events.length === 0) return
    pressed.value = tracker.pressed()
    if (!batcher.add(events)) problem.value = 'Too many keys wait to be sent: some were left out.'
    pump()
  }

  function pump(): void {
    clearTimeout(timer)
    const now = performance.now()
    const events = batcher.take(now)
    if (events.length > 0) send(events)
    const at = batcher.wakeAt(now)
    if (at !== null) timer = setTimeout(pump, at - now)
  }

  function send(events: readonly KeyEvent[]): void {
    const number = messages.send(events)
    const runner = runHold(client, {
      device: options.device(),
      command: KEYS_COMMAND,
      sending: () => budget.spend(performance.now()),
      changed: (view) => changed(number, view),
    })
    runners.set(number, runner)
    runner.begin({ events: events.map(({ key, down }) => ({ key, down })) })
  }

  function changed(number: number, { phase, end }: HoldView): void {
    if (phase === 'held') return settle()
    if (phase !== 'idle' || end === null || !runners.delete(number)) return
    // Nobody knows whether it was carried out: what it should have released is let go otherwise.
    const toLetGo = messages.over(number, false)
    const lost = messages.ended(number)
    if (end.how === 'refused') problem.value = `Keys were not sent: ${end.why} (${end.code ?? 'refused'})`
    else if (end.how === 'over' && end.why !== '' && lost.length > 0) problem.value = `${lost.map(keyName).join(', ')} came up at the PC: ${end.why}`
    letGo(toLetGo)
  }

  /** Looks at what became of the messages that are under way. */
  function settle(): void {
    for (const [number, runner] of [...runners]) {
      const { commandId } = runner.view()
      const record = commandId === null ? undefined : commands.records.get(commandId)
      if (record === undefined || !isOver(record)) continue
      const succeeded = record.status === 'succeeded'
      const toLetGo = messages.over(number, succeeded)
      if (!succeeded) problem.value = `Keys ${record.status}: ${outcomeOf(record) || 'no reason was given'}`
      letGo(toLetGo)
      if (!succeeded) runner.over(record.commandId, outcomeOf(record))
    }
    for (const number of messages.finished()) {
      const runner = runners.get(number)
      const id = runner?.view().commandId
      // Nothing of it is held any more, so there is nothing to let go, and nothing to say.
      if (runner !== undefined && id != null) runner.over(id, '')
    }
  }

  function letGo(numbers: readonly number[]): void {
    for (const number of numbers) runners.get(number)?.letGo()
  }

  watch(() => commands.changes, settle)
  watch(options.device, leave, { flush: 'sync' })
  watch(
    options.blocked,
    (why) => {
      if (why === null || !capturing.value) return
      leave()
      problem.value = why
    },
    { flush: 'sync' },
  )
  watch(
    () => isConnected(link.status),
    (connected) => {
      if (connected) return
      if (capturing.value) problem.value = 'The connection broke: the daemon lets go of what was down at the PC.'
      leave()
      for (const runner of [...runners.values()]) runner.linkGone()
    },
    { flush: 'sync' },
  )
  onPageLeft(leave)
  onBeforeUnmount(() => {
    leave()
    letGo([...runners.keys()])
  })

  return { capturing: readonly(capturing), pressed, problem, capture, leave, keyDown, keyUp }
}
