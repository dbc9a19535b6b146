// The driver on the bench of plain JavaScript: `node --test` in this folder.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Bench } from './autobench-sdk/bench.js'
import { LineFramer } from './autobench-sdk/index.js'
import { Relay } from './driver.js'

test('a command is sent, followed and answered by the board', () => {
  const bench = new Bench(Relay)
  const id = bench.command('on')
  assert.equal(bench.written('main'), `on ${id}\n`)
  bench.feed('main', `ack ${id}\r\nat ${id} 0.5 half`)
  bench.feed('main', `way\ndone ${id} true\n`)
  assert.deepEqual(bench.replies.slice(0, 2), [['acknowledged', id], ['progress', id, 'halfway', 0.5]])
  assert.deepEqual(bench.outcome(id), ['succeeded', true])
  assert.deepEqual(bench.slice, { attached: true, on: true, commands: 1 })
})

test('a pulse ends with its right length, also over a swap', () => {
  const bench = new Bench(Relay)
  const id = bench.command('pulse', { ms: 1000 })
  bench.advanceMs(600)
  bench.swap()
  bench.advanceMs(399)
  assert.equal(bench.written('main'), `on ${id}\n`)
  bench.advanceMs(1)
  assert.equal(bench.written('main'), `off ${id}\n`)
  assert.deepEqual(bench.outcome(id), ['succeeded', false])
})

test('a swap at any byte hears every answer once', () => {
  const text = (id) => `noise\nack ${id}\r\ndone ${id} true\n`
  for (let border = 0; border <= text('command-1').length; border += 1) {
    const bench = new Bench(Relay)
    const id = bench.command('on')
    bench.feed('main', text(id).slice(0, border))
    bench.swap()
    bench.feed('main', text(id).slice(border))
    bench.settle()
    assert.deepEqual(bench.replies.map(([what]) => what), ['acknowledged', 'completed'], String(border))
    assert.equal(bench.slice.on, true)
  }
})

test('a cancelled command is called back, and a board that goes away fails what is open', () => {
  const bench = new Bench(Relay)
  const [first, second] = [bench.command('pulse', { ms: 5000 }), bench.command('off')]
  bench.cancel(first)
  assert.deepEqual(bench.outcome(first), ['cancelled', undefined])
  assert.equal(bench.timers.size <= 1, true, 'the pulse has no timer any more')
  bench.lose('main', 'unplugged')
  assert.deepEqual(bench.outcome(second), ['failed', 'the board went away'])
  assert.equal(bench.slice.attached, false)
  assert.deepEqual(bench.outcome(bench.command('on')), ['blocked', 'the board is away'])
})

test('only members that changed are published, and rarely', () => {
  const bench = new Bench(Relay)
  bench.settle()
  const id = bench.command('on')
  bench.feed('main', `error ${id} stuck\n`)
  assert.deepEqual(bench.outcome(id), ['failed', 'stuck'])
  bench.settle()
  assert.deepEqual(bench.slice, { attached: true, on: null, commands: 1 })
})

test('lines do not depend on chunks, and long ones are cut', () => {
  const text = new TextEncoder().encode('one\r\n1234567\n123456\r\nrest')
  const expected = ['one', '123456', '123456']
  for (let border = 0; border <= text.length; border += 1) {
    const framer = new LineFramer(6)
    const lines = [...framer.feed(text.slice(0, border)), ...framer.feed(text.slice(border))]
    assert.deepEqual(lines, expected, String(border))
    assert.equal(framer.held, 4)
  }
})
