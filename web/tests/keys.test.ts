// Keys of this keyboard on their way to the PC's: what is pressed, how it is put into messages, and which message holds what.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { EVENTS_PER_MESSAGE, GAP_MS, KeyBatcher, MessageBudget, WAITING_LIMIT } from '../src/keys/batch'
import { KEYS, keyName } from '../src/keys/codes'
import { KeyMessages } from '../src/keys/messages'
import { KeyTracker } from '../src/keys/tracker'
import type { KeyEvent, KeyInput } from '../src/keys/tracker'
import { SEED, rounds, seeded } from './support/random'

const down = (key: string): KeyEvent => ({ key, down: true })
const up = (key: string): KeyEvent => ({ key, down: false })
const input = (code: string, more: Partial<KeyInput> = {}): KeyInput => ({ code, repeat: false, ctrlKey: false, altKey: false, altGraph: false, at: 0, ...more })

describe('the keys that are sent', () => {
  it('are those that the driver knows', () => {
    const source = readFileSync(join(import.meta.dirname, '../../plugins/keyboard/src/keys.rs'), 'utf8')
    const known = [...source.matchAll(/\("(\w+)", (?:Key\(|PRINT_SCREEN|PAUSE)/g)].map((match) => match[1])
    expect(known).toHaveLength(105)
    expect([...KEYS].sort()).toEqual(known.sort())
  })

  it.each([
    ['KeyA', 'A'],
    ['Digit7', '7'],
    ['ControlLeft', 'Left Ctrl'],
    ['MetaRight', 'Right Meta'],
    ['PageUp', 'Page up'],
    ['Numpad5', 'Numpad 5'],
    ['F10', 'F10'],
  ])('%s is called %s', (code, name) => expect(keyName(code)).toBe(name))
})

describe('the tracker', () => {
  let tracker: KeyTracker
  beforeEach(() => {
    tracker = new KeyTracker()
  })

  it('passes a key on once, however often it repeats', () => {
    expect(tracker.keyDown(input('KeyA'))).toEqual({ kind: 'events', events: [down('KeyA')] })
    expect(tracker.keyDown(input('KeyA', { repeat: true }))).toEqual({ kind: 'events', events: [] })
    expect(tracker.keyDown(input('KeyA'))).toEqual({ kind: 'events', events: [] })
    expect(tracker.pressed()).toEqual(['KeyA'])
    expect(tracker.keyUp('KeyA')).toEqual([up('KeyA')])
    expect(tracker.keyUp('KeyA')).toEqual([])
  })

  it('ignores a key that was held before it listened', () => {
    expect(tracker.keyDown(input('Enter', { repeat: true }))).toEqual({ kind: 'events', events: [] })
    expect(tracker.keyUp('Enter')).toEqual([])
  })

  it('knows the way out, and does not take AltGr for it', () => {
    expect(tracker.keyDown(input('Period', { ctrlKey: true, altKey: true }))).toEqual({ kind: 'leave' })
    expect(tracker.keyDown(input('Period', { ctrlKey: true, altKey: true, altGraph: true })).kind).toBe('events')
    expect(tracker.keyDown(input('Period', { ctrlKey: true })).kind).toBe('events')
  })

  it('takes back the Ctrl that Windows puts before AltGr, and no other', () => {
    tracker.keyDown(input('ControlLeft', { at: 100 }))
    expect(tracker.keyDown(input('AltRight', { at: 100.5, altGraph: true }))).toEqual({ kind: 'events', events: [up('ControlLeft'), down('AltRight')] })
    expect(tracker.keyUp('ControlLeft')).toEqual([])
    expect(tracker.keyUp('AltRight')).toEqual([up('AltRight')])
    tracker.keyDown(input('ControlLeft', { at: 200 }))
    expect(tracker.keyDown(input('AltRight', { at: 260, altGraph: true }))).toEqual({ kind: 'events', events: [down('AltRight')] })
  })

  it('says of a key that no PC keyboard has that it is unknown', () => {
    for (const code of ['', 'Unidentified', 'AudioVolumeUp', 'F13']) expect(tracker.keyDown(input(code))).toEqual({ kind: 'unknown' })
    expect(tracker.pressed()).toEqual([])
  })

  it('strikes PrintScreen where the system tells only that it goes up', () => {
    expect(tracker.keyUp('PrintScreen')).toEqual([down('PrintScreen'), up('PrintScreen')])
    tracker.keyDown(input('PrintScreen'))
    expect(tracker.keyUp('PrintScreen')).toEqual([up('PrintScreen')])
  })

  it('lets go with Command what macOS says nothing of, but no other modifier', () => {
    for (const code of ['MetaLeft', 'ShiftLeft', 'KeyC']) tracker.keyDown(input(code))
    expect(tracker.keyUp('MetaLeft')).toEqual([up('KeyC'), up('MetaLeft')])
    expect(tracker.pressed()).toEqual(['ShiftLeft'])
  })
})

describe('the batcher', () => {
  const batcher = (perS = 1_000, burst = 1_000) => {
    const budget = new MessageBudget(perS, burst)
    return { budget, batcher: new KeyBatcher(budget) }
  }

  it('sends the first event at once, and those of the next 50 ms together', () => {
    const { batcher: it } = batcher()
    it.add([down('KeyA')])
    expect(it.wakeAt(1_000)).toBe(1_000)
    expect(it.take(1_000)).toEqual([down('KeyA')])
    expect(it.wakeAt(1_000)).toBeNull()
    it.add([up('KeyA')])
    it.add([down('KeyB'), up('KeyB')])
    expect(it.take(1_049)).toEqual([])
    expect(it.wakeAt(1_049)).toBe(1_050)
    expect(it.take(1_050)).toEqual([up('KeyA'), down('KeyB'), up('KeyB')])
  })

  it('puts no more into one message than the driver takes', () => {
    const { batcher: it } = batcher()
    const events = Array.from({ length: 100 }, (_, at) => (at % 2 === 0 ? down('KeyA') : up('KeyA')))
    it.add(events)
    const first = it.take(0)
    expect(first).toHaveLength(EVENTS_PER_MESSAGE)
    expect([...first, ...it.take(GAP_MS)]).toEqual(events)
  })

  it('keeps what comes up, and says so, when too much waits', () => {
    const { batcher: it } = batcher()
    for (let at = 0; at < WAITING_LIMIT; at += 1) expect(it.add([down('KeyA')])).toBe(true)
    expect(it.add([down('KeyB')])).toBe(false)
    expect(it.add([up('KeyA')])).toBe(true)
    let last: readonly KeyEvent[] = []
    for (let now = 0, batch = it.take(now); batch.length > 0; now += GAP_MS, batch = it.take(now)) last = batch
    expect(last.at(-1)).toEqual(up('KeyA'))
  })

  it('leaves a third of what the daemon takes at once to renewals', () => {
    const { batcher: it, budget } = batcher(10, 21)
    let sent = 0
    for (let now = 0; now < 3_000; now += 1) {
      it.add([down('KeyA')])
      if (it.take(now).length === 0) continue
      budget.spend(now)
      sent += 1
    }
    // Fourteen of the burst, and ten per second from then on.
    expect(sent).toBeGreaterThan(38)
    expect(sent).toBeLessThanOrEqual(44)
  })

  it(`sends everything, in its order, at most one message in 50 ms, and never more than the daemon takes (seed ${SEED})`, () => {
    const random = seeded(SEED)
    for (let round = 0; round < rounds(50, 2_000); round += 1) {
      const [perS, burst] = [1 + Math.floor(random() * 20), 2 + Math.floor(random() * 30)]
      const { batcher: it, budget } = batcher(perS, burst)
      const [added, sent]: KeyEvent[][] = [[], []]
      const times: number[] = []
      for (let now = 0, count = 0; now < 60_000 && (now < 2_000 || it.wakeAt(now) !== null); now += 5) {
        if (now < 2_000 && random() < 0.3) {
          const event = { key: `k${(count += 1)}`, down: random() < 0.5 }
          added?.push(event)
          it.add([event])
        }
        const batch = it.take(now)
        if (batch.length === 0) continue
        budget.spend(now)
        sent?.push(...batch)
        times.push(now)
      }
      expect(sent).toEqual(added)
      expect(times.every((at, index) => index === 0 || at - (times[index - 1] ?? 0) >= GAP_MS)).toBe(true)
      for (const from of times) {
        const within = times.filter((at) => at >= from && at <= from + 1_000).length
        expect(within).toBeLessThanOrEqual(burst + perS)
      }
    }
  })
})

describe('messages of keys', () => {
  let messages: KeyMessages
  beforeEach(() => {
    messages = new KeyMessages()
  })

  it('hold a key until the message with its release was carried out, and no shorter', () => {
    const first = messages.send([down('KeyA')])
    expect(messages.over(first, true)).toEqual([])
    expect([messages.finished(), messages.holding()]).toEqual([[], [first]])
    const second = messages.send([up('KeyA')])
    expect([messages.finished(), messages.holding()]).toEqual([[], []])
    expect(messages.over(second, true)).toEqual([])
    expect(messages.finished()).toEqual([first, second])
  })

  it('that were not carried out are let go, and so is what they should have released', () => {
    const first = messages.send([down('ShiftLeft')])
    messages.over(first, true)
    const second = messages.send([up('ShiftLeft'), down('KeyB')])
    expect(messages.over(second, false)).toEqual([second, first])
    expect(messages.over(second, false)).toEqual([])
  })

  it('hold nothing of what they strike', () => {
    const tap = messages.send([down('KeyA'), up('KeyA'), down('Pause')])
    expect(messages.holding()).toEqual([])
    expect(messages.finished()).toEqual([])
    messages.over(tap, true)
    expect(messages.finished()).toEqual([tap])
  })

  it('keep apart a key that was pressed again before its release was carried out', () => {
    const first = messages.send([down('KeyA')])
    const second = messages.send([up('KeyA'), down('KeyA')])
    messages.over(first, true)
    expect(messages.holding()).toEqual([second])
    messages.over(second, true)
    expect([messages.finished(), messages.holding()]).toEqual([[first], [second]])
  })

  it('say which keys came up at the PC without anybody here, when their hold ends', () => {
    const first = messages.send([down('KeyA'), down('ShiftLeft')])
    messages.send([up('KeyA')])
    expect(messages.ended(first)).toEqual(['ShiftLeft'])
    expect(messages.ended(first)).toEqual([])
    expect(messages.holding()).toEqual([])
  })
})
