/**
 * A form from the JSON Schema of a command's arguments, and arguments from what was filled in. Texts, numbers with their limits, switches,
 * choices, and objects of those become inputs; anything else is written as JSON, and read when it is sent. Pure. The daemon checks the
 * arguments against the whole schema in any case: what this file does not look at comes back as `bad-arguments`.
 */

import { splitUnit } from '../components/format'
import { isObject } from '../wire/decode'
import { listOf, memberOf, numberOf, textOf } from '../wire/read'
import type { Json, JsonObject } from '../wire/types'
import { alternatives, resolve } from './resolve'

export interface Option {
  readonly label: string
  readonly description: string
  readonly value: Json
}

export type Control =
  | { readonly kind: 'text'; readonly minLength: number; readonly maxLength: number | null; readonly secret: boolean }
  | {
      readonly kind: 'number'
      readonly integer: boolean
      readonly low: number | null
      readonly high: number | null
      /** Whether the limits themselves are out of range. */
      readonly lowOpen: boolean
      readonly highOpen: boolean
      readonly multipleOf: number | null
    }
  | { readonly kind: 'switch' }
  | { readonly kind: 'choice'; readonly options: readonly Option[] }
  | { readonly kind: 'group'; readonly inputs: readonly Input[] }
  | { readonly kind: 'json' }

export interface Input {
  /** Names the input in its form: a JSON pointer into the arguments. Empty for the arguments as a whole. */
  readonly key: string
  readonly name: string
  readonly label: string
  readonly unit: string | null
  readonly description: string
  readonly required: boolean
  readonly nullable: boolean
  /** What stands in it at first: the schema's default. */
  readonly initial: string
  readonly control: Control
}

/** What was filled in, by the inputs' keys. Switches are `true` or `false`, choices the place of their option; empty is nothing, or an empty text. */
export type Draft = Readonly<Record<string, string>>

export type Collected = { readonly ok: true; readonly args: JsonObject } | { readonly ok: false; readonly problems: Readonly<Record<string, string>> }

/** Objects in objects beyond this are written as JSON. */
const DEPTH = 3
/** Longer texts than this come in a field of several lines. */
export const LONG_TEXT = 200

export function formOf(schema: Json): readonly Input[] {
  const root = isObject(schema) ? schema : {}
  const { schema: own } = resolve(root, root)
  const inputs = isPlainObject(own) ? inputsOf(own, root, '', 1) : []
  if (inputs.length > 0) return inputs
  if (isPlainObject(own) && own['additionalProperties'] === false) return []
  const description = textOf(own, 'description') ?? 'A JSON object.'
  return [{ key: '', name: '', label: 'Arguments', unit: null, description, required: false, nullable: false, initial: '', control: { kind: 'json' } }]
}

export function draftOf(inputs: readonly Input[]): Record<string, string> {
  return Object.fromEntries(inputs.flatMap((input) => (input.control.kind === 'group' ? Object.entries(draftOf(input.control.inputs)) : [[input.key, input.initial]])))
}

/** The arguments, or what is wrong with which input. */
export function collect(inputs: readonly Input[], draft: Draft): Collected {
  const problems: Record<string, string> = {}
  const args = collectInto(inputs, draft, problems)
  if (Object.keys(problems).length > 0) return { ok: false, problems }
  const whole = inputs[0]?.key === '' ? args[''] : args
  if (whole === undefined) return { ok: true, args: {} }
  return isObject(whole) ? { ok: true, args: whole } : { ok: false, problems: { '': 'has to be a JSON object' } }
}

/** The limits of an input in words, or an empty text. */
export function limitsOf(control: Control): string {
  if (control.kind === 'text') {
    const { minLength, maxLength } = control
    if (maxLength === null) return minLength > 1 ? `at least ${minLength} characters` : ''
    return minLength > 1 ? `${minLength} to ${maxLength} characters` : `at most ${maxLength} characters`
  }
  if (control.kind !== 'number') return control.kind === 'json' ? 'JSON' : ''
  const { integer, low, high, lowOpen, highOpen, multipleOf } = control
  const parts: string[] = []
  if (low !== null && high !== null && !lowOpen && !highOpen) parts.push(`${low} to ${high}`)
  else {
    if (low !== null) parts.push(`${lowOpen ? 'above' : 'at least'} ${low}`)
    if (high !== null) parts.push(`${highOpen ? 'below' : 'at most'} ${high}`)
  }
  if (multipleOf !== null) parts.push(`in steps of ${multipleOf}`)
  if (integer && parts.length === 0) parts.push('whole number')
  return parts.join(', ')
}

function inputsOf(schema: JsonObject, root: JsonObject, prefix: string, depth: number): readonly Input[] {
  const required = new Set(listOf(schema, 'required'))
  const inputs = Object.entries(memberOf(schema, 'properties') ?? {}).map(([name, member]) => inputOf(name, member, required.has(name), root, prefix, depth))
  // What has to be filled in comes first.
  return [...inputs.filter((input) => input.required), ...inputs.filter((input) => !input.required)]
}

function inputOf(name: string, member: Json, required: boolean, root: JsonObject, prefix: string, depth: number): Input {
  const { schema, nullable } = resolve(member, root)
  const key = `${prefix}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
  const control = controlOf(schema, root, key, depth, required)
  const { label, unit } = splitUnit(name)
  return {
    key,
    name,
    label: textOf(schema, 'title') ?? label,
    unit: control.kind === 'number' ? unit : null,
    description: textOf(schema, 'description') ?? '',
    required,
    nullable,
    initial: initialOf(control, schema['default']),
    control,
  }
}

function controlOf(schema: JsonObject, root: JsonObject, key: string, depth: number, required: boolean): Control {
  const options = optionsOf(schema, root)
  if (options !== null) return { kind: 'choice', options }
  switch (schema['type']) {
    case 'string':
      return {
        kind: 'text',
        minLength: numberOf(schema, 'minLength') ?? 0,
        maxLength: numberOf(schema, 'maxLength'),
        secret: schema['writeOnly'] === true || schema['format'] === 'password',
      }
    case 'number':
    case 'integer':
      return numberControl(schema)
    case 'boolean':
      // One that may be left out and has no default has three states.
      return required || schema['default'] !== undefined
        ? { kind: 'switch' }
        : { kind: 'choice', options: [true, false].map((value) => ({ label: value ? 'yes' : 'no', description: '', value })) }
    case 'object': {
      const inputs = isPlainObject(schema) && depth < DEPTH ? inputsOf(schema, root, key, depth + 1) : []
      return inputs.length > 0 ? { kind: 'group', inputs } : { kind: 'json' }
    }
    default:
      return { kind: 'json' }
  }
}

function numberControl(schema: JsonObject): Control {
  const [low, above] = [numberOf(schema, 'minimum'), numberOf(schema, 'exclusiveMinimum')]
  const [high, below] = [numberOf(schema, 'maximum'), numberOf(schema, 'exclusiveMaximum')]
  return {
    kind: 'number',
    integer: schema['type'] === 'integer',
    low: above === null ? low : Math.max(above, low ?? above),
    lowOpen: above !== null && (low === null || above >= low),
    high: below === null ? high : Math.min(below, high ?? below),
    highOpen: below !== null && (high === null || below <= high),
    multipleOf: numberOf(schema, 'multipleOf'),
  }
}

/** The values to choose from, if the schema is a list of values. */
function optionsOf(schema: JsonObject, root: JsonObject): readonly Option[] | null {
  const option = (value: Json, label?: string, description = ''): Option => ({ value, label: label ?? (typeof value === 'string' ? value : JSON.stringify(value)), description })
  if (schema['const'] !== undefined) return [option(schema['const'])]
  const listed = listOf(schema, 'enum').filter((value) => value !== null)
  if (listed.length > 0) return listed.map((value) => option(value))
  const branches = alternatives(schema).map((branch) => resolve(branch, root).schema)
  const options = branches.flatMap((branch) => {
    const values = branch['const'] === undefined ? listOf(branch, 'enum') : [branch['const']]
    return values.map((value) => option(value, textOf(branch, 'title'), textOf(branch, 'description')))
  })
  return options.length > 0 && options.length >= branches.length && branches.every((branch) => branch['const'] !== undefined || listOf(branch, 'enum').length > 0) ? options : null
}

/** An object of named members and nothing that depends on their values. */
function isPlainObject(schema: JsonObject): boolean {
  const type = schema['type']
  const conditions = ['anyOf', 'oneOf', 'allOf', 'not', 'if', 'patternProperties', 'dependentSchemas', 'propertyNames']
  return (type === 'object' || (type === undefined && isObject(schema['properties']))) && conditions.every((name) => schema[name] === undefined)
}

function initialOf(control: Control, preset: Json | undefined): string {
  switch (control.kind) {
    case 'switch':
      return preset === true ? 'true' : 'false'
    case 'choice': {
      if (control.options.length === 1 && preset === undefined) return '0'
      const place = control.options.findIndex(({ value }) => JSON.stringify(value) === JSON.stringify(preset))
      return place < 0 ? '' : String(place)
    }
    case 'json':
      return preset === undefined ? '' : JSON.stringify(preset)
    case 'text':
    case 'number':
      return typeof preset === 'string' || typeof preset === 'number' ? String(preset) : ''
    case 'group':
      return ''
  }
}

function collectInto(inputs: readonly Input[], draft: Draft, problems: Record<string, string>): JsonObject {
  const members = inputs.flatMap((input): [string, Json][] => {
    const value = valueOf(input, draft, problems)
    return value === undefined ? [] : [[input.name, value]]
  })
  return Object.fromEntries(members)
}

/** The value of one input; undefined when it is left out, or wrong, which `problems` says. */
function valueOf(input: Input, draft: Draft, problems: Record<string, string>): Json | undefined {
  const { control, key } = input
  if (control.kind === 'group') {
    const untouched = Object.entries(draftOf(control.inputs)).every(([inner, initial]) => (draft[inner] ?? initial) === initial)
    return untouched && !input.required ? undefined : collectInto(control.inputs, draft, problems)
  }
  const text = draft[key] ?? input.initial
  if (control.kind === 'switch') return text === 'true'
  if (text === '' || (control.kind !== 'text' && text.trim() === '')) {
    // Left out, a text whose default was cleared would be its default again.
    const isEmptyText = control.kind === 'text' && control.minLength === 0
    if (isEmptyText && !(input.required && input.nullable) && (input.required || input.initial !== '')) return ''
    if (!input.required) return undefined
    if (input.nullable) return null
    problems[key] = 'is needed'
    return undefined
  }
  const read = READERS[control.kind](control as never, text)
  if (read.ok) return read.value
  problems[key] = read.problem
  return undefined
}

type Read = { readonly ok: true; readonly value: Json } | { readonly ok: false; readonly problem: string }
type Reader<K extends Control['kind']> = (control: Extract<Control, { kind: K }>, text: string) => Read

const READERS: { readonly [K in 'text' | 'number' | 'choice' | 'json']: Reader<K> } = {
  text(control, text) {
    const length = [...text].length
    if (length < control.minLength || (control.maxLength !== null && length > control.maxLength)) return { ok: false, problem: `has ${length} characters: ${limitsOf(control)}` }
    return { ok: true, value: text }
  },
  number(control, text) {
    const written = text.trim().replace('−', '-')
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(written) ? Number(written) : Number.NaN
    if (!Number.isFinite(value)) return { ok: false, problem: 'is not a number' }
    if (control.integer && !Number.isInteger(value)) return { ok: false, problem: 'has to be a whole number' }
    if (control.integer && !Number.isSafeInteger(value)) return { ok: false, problem: 'is too large to be exact' }
    return fits(control, value) ? { ok: true, value } : { ok: false, problem: `has to be ${limitsOf(control)}` }
  },
  choice(control, text) {
    const option = control.options[Number(text)]
    return option === undefined ? { ok: false, problem: 'is none of the choices' } : { ok: true, value: option.value }
  },
  json(_, text) {
    try {
      return { ok: true, value: JSON.parse(text) as Json }
    } catch (error) {
      return { ok: false, problem: `is not JSON: ${error instanceof Error ? error.message : 'it cannot be read'}` }
    }
  },
}

function fits(control: Extract<Control, { kind: 'number' }>, value: number): boolean {
  const { low, high, lowOpen, highOpen, multipleOf } = control
  if (low !== null && (lowOpen ? value <= low : value < low)) return false
  if (high !== null && (highOpen ? value >= high : value > high)) return false
  if (multipleOf === null || multipleOf <= 0) return true
  // 0.3 is a multiple of 0.1 for everybody but a computer.
  const steps = value / multipleOf
  return Math.abs(steps - Math.round(steps)) < 1e-9 * Math.max(1, Math.abs(steps))
}
