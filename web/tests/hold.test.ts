// @vitest-environment happy-dom
// A hold of this page: when it is renewed, and everything that ends it.

import { createPinia, setActivePinia } from 'pinia'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createApp, defineComponent, h, ref } from 'vue'
import type { App } from 'vue'
import { CLIENT } from '../src/bootstrap'
import { useHold } from '../src/composables/useHold'
import { Hold, RENEW_MS } from '../src/holds/hold'
import type { HoldEffect } from '../src/holds/hold'
import { useCommands } from '../src/stores/commands'
import { useLink } from '../src/stores/link'
import type { Answer, Question } from '../src/wire/types'

describe('a hold', () => {
  let hold: Hold
  beforeEach(() => {
    hold = new Hold()
  })

  const kinds = (effects: readonly HoldEffect[]) => effects.map(({ kind }) => kind)

  function held(): void {
    hold.step({ kind: 'begin' }, 0)
    hold.step({ kind: 'taken', commandId: 'c' }, 20)
  }

  it('is renewed every half second from when it was asked for', () => {
    held()
    expect(hold.wakeAt()).toBe(RENEW_MS)
    expect(hold.step({ kind: 'wake' }, RENEW_MS - 1)).toEqual([])
    expect(hold.step({ kind: 'wake' }, RENEW_MS)).toEqual([{ kind: 'renew', commandId: 'c' }])
    expect(hold.wakeAt()).toBe(2 * RENEW_MS)
    // A page that slept renews once, not for every time that it missed.
    expect(kinds(hold.step({ kind: 'wake' }, 10 * RENEW_MS))).toEqual(['renew'])
    expect(hold.wakeAt()).toBe(11 * RENEW_MS)
  })

  it('is renewed at once where the answer came late', () => {
    hold.step({ kind: 'begin' }, 0)
    expect(hold.step({ kind: 'taken', commandId: 'c' }, 900)).toEqual([{ kind: 'renew', commandId: 'c' }])
    expect(hold.wakeAt()).toBe(1_400)
  })

  it('that is let go before it was taken ends as soon as it has a name', () => {
    hold.step({ kind: 'begin' }, 0)
    expect(hold.step({ kind: 'let-go' }, 10)).toEqual([])
    expect(hold.view().phase).toBe('leaving')
    expect(hold.step({ kind: 'begin' }, 15)).toEqual([])
    expect(hold.step({ kind: 'let-go' }, 16)).toEqual([])
    expect(hold.step({ kind: 'taken', commandId: 'c' }, 20)).toEqual([{ kind: 'end', commandId: 'c' }])
    expect([hold.view().phase, hold.wakeAt()]).toEqual(['idle', null])
  })

  it('is let go once', () => {
    held()
    expect(hold.step({ kind: 'let-go' }, 520)).toEqual([{ kind: 'end', commandId: 'c' }])
    expect(hold.step({ kind: 'let-go' }, 530)).toEqual([])
    expect(hold.view()).toMatchObject({ phase: 'idle', end: { how: 'let-go', heldMs: 500 } })
    expect(hold.step({ kind: 'wake' }, 2_000)).toEqual([])
  })

  it('is one at a time', () => {
    held()
    expect(hold.step({ kind: 'begin' }, 30)).toEqual([])
    hold.step({ kind: 'let-go' }, 40)
    expect(kinds(hold.step({ kind: 'begin' }, 50))).toEqual(['ask'])
    expect(hold.view().end).toBeNull()
  })

  it('that the daemon does not know any more is over, and is not renewed', () => {
    held()
    expect(hold.step({ kind: 'not-renewed', commandId: 'c', code: 'unknown-lease', message: '' }, 1_020)).toEqual([])
    expect(hold.view()).toMatchObject({ phase: 'idle', end: { how: 'over', code: 'unknown-lease', heldMs: 1_000 } })
    expect(hold.wakeAt()).toBeNull()
  })

  it('that was not renewed because of too many messages is renewed again soon', () => {
    held()
    hold.step({ kind: 'wake' }, 500)
    expect(hold.step({ kind: 'not-renewed', commandId: 'c', code: 'rate-limited', message: '' }, 510)).toEqual([])
    expect(hold.wakeAt()).toBe(760)
  })

  it('that cannot be renewed for another reason is let go', () => {
    held()
    expect(hold.step({ kind: 'not-renewed', commandId: 'c', code: 'forbidden', message: 'no' }, 600)).toEqual([{ kind: 'end', commandId: 'c' }])
    expect(hold.view().end).toMatchObject({ how: 'over', code: 'forbidden', why: 'no' })
  })

  it.each(['link-lost', 'not-connected'])('ends with the socket (%s)', (code) => {
    held()
    expect(hold.step({ kind: 'not-renewed', commandId: 'c', code, message: '' }, 600)).toEqual([])
    expect(hold.view().end?.how).toBe('link-gone')
  })

  it('is not moved by answers to one before it', () => {
    held()
    hold.step({ kind: 'let-go' }, 100)
    hold.step({ kind: 'begin' }, 110)
    hold.step({ kind: 'taken', commandId: 'd' }, 120)
    hold.step({ kind: 'not-renewed', commandId: 'c', code: 'unknown-lease', message: '' }, 130)
    hold.step({ kind: 'over', commandId: 'c', why: 'x' }, 130)
    expect(hold.view()).toMatchObject({ phase: 'held', commandId: 'd' })
  })

  it('that was refused says why', () => {
    hold.step({ kind: 'begin' }, 0)
    hold.step({ kind: 'refused', code: 'not-granted', message: 'no grant' }, 5)
    expect(hold.view()).toMatchObject({ phase: 'idle', end: { how: 'refused', code: 'not-granted', why: 'no grant', heldMs: 0 } })
  })
})

describe('useHold', () => {
  let app: App
  let asked: Question[]
  let answers: ((answer: Answer) => void)[]
  let used: ReturnType<typeof useHold>
  const blocked = ref<string | null>(null)

  beforeEach(() => {
    vi.useFakeTimers()
    asked = []
    answers = []
    blocked.value = null
    const pinia = createPinia()
    setActivePinia(pinia)
    useLink().status = 'live'
    const client = {
      ask(question: Question): Promise<Answer> {
        asked.push(question)
        return new Promise((resolve) => answers.push(resolve))
      },
    }
    const Host = defineComponent(() => {
      used = useHold({ device: () => 'atx', command: () => 'hold', blocked: () => blocked.value })
      return () => h('i')
    })
    app = createApp(Host)
    app.use(pinia)
    app.provide(CLIENT, client as never)
    app.mount(document.createElement('div'))
  })

  afterEach(() => {
    app.unmount()
    vi.useRealTimers()
  })

  const types = () => asked.map(({ type }) => type)

  async function held(): Promise<void> {
    used.begin({ button: 'power' })
    answers[0]?.({ ok: true, commandId: 'c' })
    await vi.advanceTimersByTimeAsync(1)
  }

  it('asks, renews every half second, and lets go', async () => {
    await held()
    expect(asked[0]).toEqual({ type: 'command', device: 'atx', name: 'hold', args: { button: 'power' } })
    await vi.advanceTimersByTimeAsync(1_600)
    expect(types()).toEqual(['command', 'lease.renew', 'lease.renew', 'lease.renew'])
    used.letGo()
    await vi.advanceTimersByTimeAsync(2_000)
    expect(asked.slice(4)).toEqual([{ type: 'lease.end', commandId: 'c' }])
  })

  it.each<[string, () => void]>([
    ['another window is used', () => window.dispatchEvent(new Event('blur'))],
    ['the page goes away', () => window.dispatchEvent(new Event('pagehide'))],
    ['the component goes', () => app.unmount()],
    ['the device is not ready', () => (blocked.value = 'gone')],
    [
      'the tab is hidden',
      () => {
        const hidden = vi.spyOn(document, 'visibilityState', 'get').mockReturnValue('hidden')
        document.dispatchEvent(new Event('visibilitychange'))
        hidden.mockRestore()
      },
    ],
  ])('lets go when %s', async (_, happens) => {
    await held()
    happens()
    expect(asked.at(-1)).toEqual({ type: 'lease.end', commandId: 'c' })
    await vi.advanceTimersByTimeAsync(3_000)
    expect(types()).toEqual(['command', 'lease.end'])
  })

  it('goes on when the tab is shown, and while the mirror is resynced', async () => {
    await held()
    document.dispatchEvent(new Event('visibilitychange'))
    useLink().status = 'resyncing'
    await vi.advanceTimersByTimeAsync(600)
    expect(types()).toEqual(['command', 'lease.renew'])
  })

  it('is over without a word when the socket closes', async () => {
    await held()
    useLink().status = 'waiting'
    useLink().status = 'live'
    await vi.advanceTimersByTimeAsync(3_000)
    expect(types()).toEqual(['command'])
    expect(used.view.value.end?.how).toBe('link-gone')
  })

  it('is over when the command failed, and goes on when it succeeded', async () => {
    await held()
    const record = { commandId: 'c', device: 'atx', name: 'hold', actor: 'me', queuedAt: '', deadlineAt: '' }
    useCommands().take({ ...record, status: 'acked' })
    await vi.advanceTimersByTimeAsync(1)
    expect(used.view.value.phase).toBe('held')
    useCommands().take({ ...record, status: 'blocked', reason: 'busy: something else is under way' })
    await vi.advanceTimersByTimeAsync(1)
    expect(used.view.value.end).toMatchObject({ how: 'over', why: 'blocked: busy: something else is under way' })
  })

  it('does not begin while nothing can be held', () => {
    blocked.value = 'not ready'
    used.begin({})
    expect(asked).toEqual([])
  })
})
