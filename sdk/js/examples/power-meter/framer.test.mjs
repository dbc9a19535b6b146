// Packets are the same wherever the chunk borders fall, and a framer goes on from the bytes that another one holds.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { PacketFramer } from './autobench-sdk/index.js'
import { random } from './random.mjs'

const CASES = process.env.AUTOBENCH_LONG ? 20_000 : 1000
const bytes = (text) => Buffer.from(text, 'latin1')
const packets = () => new PacketFramer('#', ';', 6, '\0\r\n')

function* texts() {
  const source = random()
  for (let number = 0; number < CASES; number += 1) {
    yield [source, Array.from({ length: source.below(120) }, () => 'ab,#;\0\r\xff'[source.below(8)]).join('')]
  }
}

test('packets stand among anything', () => {
  assert.deepEqual(packets().feed(bytes('hi\r\n#a\0b;\r\n;c,d;#e#f;#;#1234567;\xff')), [
    ['junk', 'hi'],
    ['packet', 'ab'],
    ['headless', 'c,d'],
    ['endless', 'e'],
    ['packet', 'f'],
    ['packet', ''],
    ['too-long', '123456'],
    ['headless', '7'],
  ])
})

test('packets do not depend on chunks and go on from what is held', () => {
  for (const [source, text] of texts()) {
    let framer = packets()
    const pieces = []
    for (let at = 0; at < text.length; ) {
      const end = at + source.below(20) + 1
      pieces.push(...framer.feed(bytes(text.slice(at, end))))
      at = Math.min(end, text.length)
      if (source.below(2) === 0) {
        const { held } = framer
        framer = packets()
        pieces.push(...framer.feed(bytes(text.slice(at - held, at))))
        assert.equal(framer.held, held, JSON.stringify(text))
      }
    }
    assert.deepEqual(pieces, packets().feed(bytes(text)), JSON.stringify(text))
  }
})

test('no byte is lost between pieces', () => {
  for (const [, text] of texts()) {
    // An end, so that nothing is held.
    const given = packets().feed(bytes(`${text};`)).map(([, piece]) => piece)
    assert.equal(given.join(''), text.replace(/[#;\0\r]/g, ''), JSON.stringify(text))
  }
})
