// What a driver holds is undone on the bench as by the host: in its place among what a call writes, in its time, and whatever becomes of the driver.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Bench } from './autobench-sdk/bench.js'
import { Driver, HostError, Snapshot } from './autobench-sdk/index.js'

/** Does what its commands say, and takes a lease for each byte. `told` is what it was told since its start, in order. */
class Holder extends Driver {
  static manifest() {
    return { name: 'holder', version: '1.0.0', ports: [{ name: 'main' }, { name: 'other' }] }
  }

  static slice() {
    return { told: [] }
  }

  start(cx, { leases }) {
    cx.editNow().told = [`start ${leases}`]
  }

  onBytes(cx, { port, data }) {
    for (const byte of data) this.#acquire(cx, byte, port, Uint8Array.of(byte), 1000)
    this.unfinished = data.length > 0 && data.at(-1) < 32
  }

  onCommand(cx, { id, name, arguments: args }) {
    if (name === 'acquire') return this.#acquire(cx, args.id, args.port, args.release, args.ms)
    if (name === 'release') return cx.releaseLease(args.id)
    if (name === 'hold') return cx.acquireLease(9, 'main', '9', 1000, id)
    // A hold that is over as soon as it has begun, and begins anew.
    cx.write('main', '<')
    cx.acquireLease(1, 'main', '1', 1000)
    cx.acquireLease(2, 'main', '2', 1000)
    cx.releaseLease(1)
    cx.write('main', '>')
    cx.acquireLease(1, 'main', '3', 1000)
  }

  onLost(cx, { port }) {
    this.#tell(cx, `lost ${port}`)
  }

  onLeaseEnded(cx, { id, reason }) {
    this.#tell(cx, `${id} ${reason} at ${cx.monotonicNs() / 1_000_000n - 1000n}`)
  }

  /** Its successor hears the last byte again where that is a control character. */
  snapshot() {
    return new Snapshot(null, { main: this.unfinished ? 1 : 0 })
  }

  #acquire(cx, id, port, release, ms) {
    try {
      cx.acquireLease(id, port, release, ms)
    } catch (error) {
      if (!(error instanceof HostError)) throw error
      cx.warn(error.message)
    }
  }

  #tell(cx, text) {
    const slice = cx.editNow()
    slice.told = [...slice.told, text]
  }
}

const take = (bench, id, port, release, ms) => bench.command('acquire', { id, port, release, ms })
const open = (bench) => [...bench.leases.keys()]
const refusals = (bench) => bench.logs.map(([, text]) => text)

test('a lease names the command whose sender holds it', () => {
  const bench = new Bench(Holder)
  const id = bench.command('hold')
  assert.equal(bench.leases.get(9).holder, id)
})

test('the bytes of a lease that is given back go out in their place', () => {
  const bench = new Bench(Holder)
  bench.command('pulse')
  assert.equal(bench.written('main'), '<1>')
  assert.deepEqual(open(bench), [2, 1])
  bench.command('release', { id: 1 })
  bench.command('release', { id: 1 })
  assert.equal(bench.written('main'), '3', 'once, and one that is not open is no error')
  assert.deepEqual(bench.slice.told, ['start '], 'it has asked for that itself')
})

test('a lease ends at its time, which a new one moves', () => {
  const bench = new Bench(Holder)
  take(bench, 7, 'main', 'a', 100)
  take(bench, 8, 'main', 'b', 60)
  bench.advanceMs(50)
  take(bench, 7, 'main', 'c', 100)
  bench.advanceMs(99)
  assert.equal(bench.written('main'), 'b')
  assert.equal(bench.leases.get(7).endsNs, bench.nowNs + 1_000_000n)
  bench.advanceMs(1)
  assert.equal(bench.written('main'), 'c')
  assert.deepEqual(bench.slice.told, ['start ', '8 maximum at 60', '7 maximum at 150'])
  assert.deepEqual(open(bench), [])
})

test('a lease that moves to another port ends on the first', () => {
  const bench = new Bench(Holder)
  take(bench, 1, 'main', 'm', 100)
  take(bench, 1, 'other', 'o', 100)
  assert.equal(bench.written('main'), 'm')
  bench.endLease(1, 'client-gone')
  assert.deepEqual([bench.written('main'), bench.written('other')], ['', 'o'])
  assert.deepEqual(bench.slice.told, ['start ', '1 client-gone at 0'])
  assert.throws(() => bench.endLease(1, 'client-gone'), /no lease 1 is open/)
})

test('what is out of range is refused', () => {
  const bench = new Bench(Holder)
  bench.lose('other', 'unplugged')
  take(bench, 1, 'third', '', 0)
  take(bench, 1, 'other', '', 1)
  take(bench, 1, 'main', 'x'.repeat(1025), 1)
  take(bench, 1, 'main', 'x', 0)
  take(bench, 1, 'main', 'x', 600_001)
  take(bench, 1, 'other', 'x', 1)
  assert.deepEqual(refusals(bench), [
    'not-granted',
    'invalid: 1 to 1024 bytes undo a hold, not 0',
    'invalid: 1 to 1024 bytes undo a hold, not 1025',
    'invalid: a lease lasts 1 to 600000 ms, not 0',
    'invalid: a lease lasts 1 to 600000 ms, not 600001',
    'not-attached',
  ])
  take(bench, 1, 'main', 'x'.repeat(1024), 600_000)
  take(bench, 2, 'main', 'x', 1)
  assert.deepEqual(open(bench), [1, 2])
})

test('sixteen leases are open or wait for their line', () => {
  const bench = new Bench(Holder)
  bench.feed('other', Uint8Array.from({ length: 17 }, (_, index) => index))
  assert.equal(bench.leases.size, 16, 'all in one call')
  take(bench, 5, 'main', 'x', 1000)
  assert.deepEqual(refusals(bench), ['full'], 'one that is open needs no room')
  assert.equal(bench.written('other'), '\x05', 'what it left there is written by nobody else')
  bench.lose('other', 'unplugged')
  assert.deepEqual(open(bench), [5])
  take(bench, 17, 'main', 'x', 1000)
  assert.equal(refusals(bench).length, 2, 'the bytes of 15 wait, and one is open')
  bench.attach('other')
  take(bench, 17, 'main', 'x', 1000)
  assert.deepEqual(open(bench), [5, 17])
})

test('a line that is lost ends its leases and gets their bytes when it is back', () => {
  const bench = new Bench(Holder)
  take(bench, 1, 'main', 'a', 1000)
  take(bench, 2, 'other', 'b', 1000)
  take(bench, 3, 'main', 'c', 1000)
  bench.lose('main', 'unplugged')
  assert.deepEqual(bench.slice.told, ['start ', 'lost main', '1 port-lost at 0', '3 port-lost at 0'])
  assert.deepEqual(open(bench), [2])
  assert.equal(bench.written('main'), '')
  bench.attach('main')
  assert.equal(bench.written('main'), 'ac')
})

test('a swap ends no lease', () => {
  const bench = new Bench(Holder)
  take(bench, 65, 'main', 'a', 1000)
  bench.advanceMs(600)
  bench.swap()
  assert.deepEqual(bench.slice.told, ['start 65'])
  bench.advanceMs(399)
  assert.equal(bench.written('main'), '')
  bench.advanceMs(1)
  assert.equal(bench.written('main'), 'a')
  assert.deepEqual(bench.slice.told.slice(1), ['65 maximum at 1000'])
})

test('a successor that takes a lease in what it hears again is told that there is none', () => {
  const bench = new Bench(Holder)
  bench.feed('main', '\x07')
  bench.endLease(7, 'client-gone')
  assert.equal(bench.written('main'), '\x07')
  bench.swap()
  assert.deepEqual(open(bench), [])
  assert.equal(bench.written('main'), '')
  assert.deepEqual(bench.slice.told, ['start ', '7 driver-failed at 0'])
})
