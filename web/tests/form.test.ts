// Forms from JSON Schemas: which inputs a schema becomes, and which arguments come of what was filled in.

import { describe, expect, it } from 'vitest'
import { collect, draftOf, formOf, limitsOf } from '../src/schema/form'
import type { Json, JsonObject } from '../src/wire/types'

/** A command whose only argument is `value`. */
function one(schema: Json, required = true): JsonObject {
  return { type: 'object', properties: { value: schema }, required: required ? ['value'] : [], additionalProperties: false }
}

/** What a form with one argument makes of a text: the value, `undefined` when it is left out, or the complaint. */
function filled(schema: Json, text: string, required = true): unknown {
  const collected = collect(formOf(one(schema, required)), { '/value': text })
  return collected.ok ? collected.args['value'] : collected.problems['/value']
}

const kind = (schema: Json, required = true) => formOf(one(schema, required))[0]?.control.kind

describe('the inputs of a schema', () => {
  it.each<[string, Json, boolean]>([
    ['text', { type: 'string' }, true],
    ['text', { type: ['string', 'null'] }, false],
    ['number', { type: 'integer' }, true],
    ['number', { type: 'number' }, true],
    ['switch', { type: 'boolean' }, true],
    ['switch', { type: 'boolean', default: false }, false],
    ['choice', { type: 'boolean' }, false],
    ['choice', { enum: ['a', 'b'] }, true],
    ['choice', { const: 7 }, true],
    ['choice', { oneOf: [{ const: 'us', description: 'United States' }, { type: 'string', enum: ['uk', 'de'] }] }, true],
    ['group', { type: 'object', properties: { x: { type: 'number' } } }, true],
    ['json', { type: 'array', items: { type: 'integer' } }, true],
    ['json', { type: ['string', 'number'] }, true],
    ['json', { anyOf: [{ type: 'string' }, { type: 'object' }] }, true],
    ['json', { type: 'object' }, true],
    ['json', { type: 'object', properties: { x: {} }, oneOf: [{ required: ['x'] }] }, true],
    ['json', true, true],
  ])('is a %s for %j', (expected, schema, required) => expect(kind(schema, required)).toBe(expected))

  it('has none for a command without arguments', () => {
    expect(formOf({ type: 'object', additionalProperties: false })).toEqual([])
    expect(collect([], {})).toEqual({ ok: true, args: {} })
  })

  it('is one JSON field where the arguments as a whole are anything else', () => {
    for (const schema of [true, {}, { type: 'object' }, { oneOf: [{ type: 'object' }] }, 'nonsense'] as Json[]) {
      const inputs = formOf(schema)
      expect(inputs.map(({ key, control }) => [key, control.kind])).toEqual([['', 'json']])
      expect(collect(inputs, { '': '{"a": [1]}' })).toEqual({ ok: true, args: { a: [1] } })
      expect(collect(inputs, { '': '' })).toEqual({ ok: true, args: {} })
      expect(collect(inputs, { '': '[1]' })).toEqual({ ok: false, problems: { '': 'has to be a JSON object' } })
    }
  })

  it('has what is needed first, and objects only so deep', () => {
    const inputs = formOf({ type: 'object', properties: { a: { type: 'string' }, delayMs: { type: 'integer' } }, required: ['delayMs'] })
    expect(inputs.map(({ name, label, unit, required }) => [name, label, unit, required])).toEqual([
      ['delayMs', 'Delay', 'ms', true],
      ['a', 'A', null, false],
    ])
    const nested = (levels: number): JsonObject => ({ type: 'object', properties: { x: levels === 0 ? { type: 'string' } : nested(levels - 1) } })
    expect(JSON.stringify(formOf(nested(9))).match(/"kind":"group"/g)).toHaveLength(2)
  })
})

describe('the value of an input', () => {
  it.each<[Json, string, unknown]>([
    [{ type: 'string' }, ' a ', ' a '],
    [{ type: 'string' }, '', ''],
    [{ type: 'string', minLength: 0 }, '', ''],
    [{ type: 'string', minLength: 1 }, '', 'is needed'],
    [{ type: 'integer' }, '', 'is needed'],
    [{ enum: ['a', 2, null] }, '', null],
    [{ enum: ['a', 2] }, '', 'is needed'],
    [{ type: ['string', 'null'] }, '', null],
    [{ type: 'string', maxLength: 2 }, '😀😀', '😀😀'],
    [{ type: 'string', maxLength: 2 }, 'abc', 'has 3 characters: at most 2 characters'],
    [{ type: 'string', minLength: 2, maxLength: 4 }, 'a', 'has 1 characters: 2 to 4 characters'],
    [{ type: 'integer', minimum: 1, maximum: 60_000 }, ' 200 ', 200],
    [{ type: 'integer', minimum: 1, maximum: 60_000 }, '0', 'has to be 1 to 60000'],
    [{ type: 'integer', minimum: 1, maximum: 60_000 }, '60001', 'has to be 1 to 60000'],
    [{ type: 'integer' }, '1.5', 'has to be a whole number'],
    [{ type: 'integer' }, '9007199254740993', 'is too large to be exact'],
    [{ type: 'number' }, '1,5', 'is not a number'],
    [{ type: 'number' }, '0x10', 'is not a number'],
    [{ type: 'number' }, 'Infinity', 'is not a number'],
    [{ type: 'number' }, '−1.5e2', -150],
    [{ type: 'number', exclusiveMinimum: 0 }, '0', 'has to be above 0'],
    [{ type: 'number', minimum: 0, exclusiveMaximum: 1 }, '1', 'has to be at least 0, below 1'],
    [{ type: 'number', multipleOf: 0.1 }, '0.3', 0.3],
    [{ type: 'number', multipleOf: 0.1 }, '0.35', 'has to be in steps of 0.1'],
    [{ type: 'boolean' }, 'true', true],
    [{ type: 'boolean' }, 'false', false],
    [{ enum: ['a', 2, null] }, '1', 2],
    [{ enum: ['a'] }, '4', 'is none of the choices'],
    [{ type: 'array' }, '[1, "x"]', [1, 'x']],
  ])('of %j is for "%s" %j', (schema, text, expected) => expect(filled(schema, text)).toEqual(expected))

  it('that is no JSON says so', () => expect(filled({ type: 'array' }, '[1,')).toMatch(/^is not JSON: /))

  it('is left out when it may be and nothing was filled in', () => {
    for (const schema of [{ type: 'string' }, { type: 'number' }, { type: 'boolean' }, { enum: [1] }, { type: 'array' }] as Json[]) {
      expect(filled(schema, '', false)).toBeUndefined()
    }
  })

  it('is empty where its default was cleared: left out, it would be the default', () => {
    expect(filled({ type: 'string', default: 'x' }, '', false)).toBe('')
    expect(filled({ type: 'string', default: 'x', minLength: 1 }, '', false)).toBeUndefined()
  })
})

describe('a form', () => {
  const schema: JsonObject = {
    type: 'object',
    required: ['name', 'area'],
    properties: {
      name: { type: 'string', minLength: 1, default: 'x' },
      loud: { type: 'boolean', default: true },
      layout: { $ref: '#/$defs/Layout', default: 'uk' },
      area: { type: 'object', required: ['w'], properties: { w: { type: 'integer' } } },
      extra: { type: 'object', properties: { note: { type: 'string' }, deep: { type: 'boolean', default: false } } },
    },
    $defs: { Layout: { enum: ['us', 'uk'] } },
  }
  const inputs = formOf(schema)

  it('begins with the defaults of the schema', () => {
    expect(draftOf(inputs)).toEqual({ '/name': 'x', '/area/w': '', '/loud': 'true', '/layout': '1', '/extra/note': '', '/extra/deep': 'false' })
  })

  it('leaves out an object that nobody touched, and says each mistake at its place', () => {
    expect(collect(inputs, { ...draftOf(inputs), '/area/w': '3' })).toEqual({ ok: true, args: { name: 'x', area: { w: 3 }, loud: true, layout: 'uk' } })
    expect(collect(inputs, { ...draftOf(inputs), '/area/w': '3', '/extra/note': 'n' })).toMatchObject({ args: { extra: { note: 'n', deep: false } } })
    expect(collect(inputs, { ...draftOf(inputs), '/name': '' })).toEqual({ ok: false, problems: { '/name': 'is needed', '/area/w': 'is needed' } })
  })

  it('takes names that would poison an object for what they are', () => {
    const odd = formOf(JSON.parse('{"type":"object","properties":{"__proto__":{"type":"string"},"a/b~":{"type":"string"}}}') as Json)
    const collected = collect(odd, Object.fromEntries(odd.map(({ key }) => [key, 'v'])))
    expect(collected.ok && Object.keys(collected.args)).toEqual(['__proto__', 'a/b~'])
    expect(odd.map(({ key }) => key)).toEqual(['/__proto__', '/a~1b~0'])
  })

  it('says its limits in words', () => {
    expect(formOf(one({ type: 'integer' })).map(({ control }) => limitsOf(control))).toEqual(['whole number'])
    expect(formOf(one({ type: 'string', minLength: 3 })).map(({ control }) => limitsOf(control))).toEqual(['at least 3 characters'])
  })
})
