import { useEventListener } from '@vueuse/core'
import { computed, onBeforeUnmount, shallowRef, watch } from 'vue'
import { useClient } from '../bootstrap'
import { runHold } from '../holds/runner'
import type { HoldRunner } from '../holds/runner'
import type { HoldView } from '../holds/hold'
import { outcomeOf } from '../panes/life'
import { isOver, useCommands } from '../stores/commands'
import { isConnected, useLink } from '../stores/link'
import type { JsonObject } from '../wire/types'

/** Calls `leave` when nobody is before the page any more: it goes away, it is hidden, or another window is used. */
export function onPageLeft(leave: () => void): void {
  useEventListener(window, 'blur', leave)
  useEventListener(window, 'pagehide', leave)
  useEventListener(document, 'visibilitychange', () => {
    if (document.visibilityState === 'hidden') leave()
  })
}

export interface UseHoldOptions {
  readonly device: () => string
  readonly command: () => string
  /** Why nothing can be held now, or null. What is held then is let go. */
  readonly blocked: () => string | null
}

/**
 * A hold that lasts while somebody keeps something pressed. It ends with the page, its visibility, the component and the socket by itself; who
 * uses it says `letGo` when the pointer or the key goes up. Whoever shows it has to follow the commands.
 */
export function useHold(options: UseHoldOptions) {
  const client = useClient()
  const commands = useCommands()
  const link = useLink()
  const view = shallowRef<HoldView>({ phase: 'idle', commandId: null, heldSince: null, end: null })
  /** One per command: a component whose command changes lets go of the one before, and begins the next with a new one. */
  let runner: HoldRunner | null = null

  function begin(args: JsonObject): void {
    if (options.blocked() !== null || view.value.phase !== 'idle') return
    runner = runHold(client, { device: options.device(), command: options.command(), changed: (next) => (view.value = next) })
    runner.begin(args)
  }

  function letGo(): void {
    runner?.letGo()
  }

  onPageLeft(letGo)
  onBeforeUnmount(letGo)
  watch([options.device, options.command], letGo, { flush: 'sync' })
  watch(options.blocked, (why) => why !== null && letGo(), { flush: 'sync' })
  watch(
    () => isConnected(link.status),
    (connected) => !connected && runner?.linkGone(),
    { flush: 'sync' },
  )

  const record = computed(() => (view.value.commandId === null ? undefined : commands.records.get(view.value.commandId)))
  watch(record, (now) => {
    if (now !== undefined && isOver(now) && now.status !== 'succeeded') runner?.over(now.commandId, `${now.status}: ${outcomeOf(now) || 'no reason was given'}`)
  })

  return { view, record, begin, letGo }
}
