/**
 * What there is to show of a slice that no pane was written for: its leaves, first those that the driver's schema promises, so that a value
 * has its place before it comes, then what the slice has beyond. Pure.
 */

import { ABSENT, formatMoment, formatName, formatNumber, splitUnit } from '../components/format'
import { resolve } from '../schema/resolve'
import { isObject } from '../wire/decode'
import { memberOf, textOf } from '../wire/read'
import type { Json, JsonObject } from '../wire/types'
import { describeValue } from './tree'

export interface Field {
  /** Names of the members on the way. */
  readonly path: readonly string[]
  /** The first of them if there are several, as a heading. */
  readonly group: string | null
  readonly label: string
  readonly unit: string | null
  readonly description: string
  /** The series that carries the same quantity. */
  readonly series: string | null
}

export interface FieldList {
  readonly fields: readonly Field[]
  /** How many more there are. */
  readonly left: number
  /** Whether all were counted. If not, there are more than that. */
  readonly isWhole: boolean
}

/** More than a pane can show in a useful way; the state's pane shows all of them. */
const FIELD_LIMIT = 60
const DEPTH = 4
/** Members of a schema that are looked at: with references a few lines of it promise more than there is time to count. */
const MEMBERS_LOOKED_AT = 2_000

/** Members that the pane shows in places of their own. */
const SHOWN_ELSEWHERE = new Set(['phase', 'message'])

export function sliceFields(schema: JsonObject | null, slice: JsonObject, series: Readonly<Record<string, { readonly unit: string }>>): FieldList {
  const fields: Field[] = []
  /** Leaves and everything above them. */
  const known = new Set<string>()
  let left = 0
  let lookedAt = 0

  function leaf(path: readonly string[], description: string): void {
    for (let length = 1; length <= path.length; length += 1) known.add(keyOf(path.slice(0, length)))
    if (fields.length >= FIELD_LIMIT) {
      left += 1
      return
    }
    fields.push(fieldOf(path, description, series))
  }

  function promised(part: JsonObject, path: readonly string[], root: JsonObject): void {
    for (const [name, member] of Object.entries(memberOf(part, 'properties') ?? {})) {
      if (path.length === 0 && SHOWN_ELSEWHERE.has(name)) continue
      lookedAt += 1
      if (lookedAt > MEMBERS_LOOKED_AT) return
      const { schema: inner } = resolve(member, root)
      const below = [...path, name]
      if (isObject(inner['properties']) && below.length < DEPTH) promised(inner, below, root)
      else leaf(below, textOf(inner, 'description') ?? '')
    }
  }

  function present(part: JsonObject, path: readonly string[]): void {
    for (const [name, value] of Object.entries(part)) {
      if (path.length === 0 && SHOWN_ELSEWHERE.has(name)) continue
      const below = [...path, name]
      if (isObject(value) && Object.keys(value).length > 0 && below.length < DEPTH) present(value, below)
      // What the schema promises as an object is nothing in itself while it is null or empty.
      else if (!known.has(keyOf(below))) leaf(below, '')
    }
  }

  if (schema !== null) promised(resolve(schema, schema).schema, [], schema)
  present(slice, [])
  // Single values before groups; both in the order in which they were found.
  const ordered = [...fields.filter(({ group }) => group === null), ...fields.filter(({ group }) => group !== null)]
  return { fields: ordered, left, isWhole: lookedAt <= MEMBERS_LOOKED_AT }
}

export function valueAt(slice: JsonObject, path: readonly string[]): Json | undefined {
  let value: Json | undefined = slice
  for (const name of path) value = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined
  return value
}

/** A value as a person reads it, without its unit. Absent and null are two things. */
export function formatField(field: Pick<Field, 'path'>, value: Json | undefined, decimals: number): string {
  if (value === undefined) return ABSENT
  if (value === null) return 'none'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  const at = timeOf(field.path.at(-1) ?? '', value)
  if (at !== null) return formatMoment(at)
  if (typeof value === 'number') return formatNumber(value, decimals)
  if (typeof value === 'string') return value === '' ? 'empty' : value
  if (Array.isArray(value) && value.length > 0 && value.every((item) => typeof item !== 'object')) return value.join(', ')
  return describeValue(value)
}

/** Milliseconds since 1970 of a value that is a time: a text in ISO 8601, or a number whose name ends in `At`. */
function timeOf(name: string, value: Json): number | null {
  if (typeof value === 'number') return /[a-z0-9]At$/.test(name) && value > 0 ? value : null
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(value)) return null
  const at = Date.parse(value)
  return Number.isNaN(at) ? null : at
}

function keyOf(path: readonly string[]): string {
  return JSON.stringify(path)
}

function fieldOf(path: readonly string[], description: string, series: Readonly<Record<string, { readonly unit: string }>>): Field {
  const name = path.at(-1) ?? ''
  const { label, stem, unit } = splitUnit(name)
  const whole = Object.hasOwn(series, name) ? name : null
  const carried = whole ?? (unit !== null && Object.hasOwn(series, stem) && series[stem]?.unit === unit ? stem : null)
  const between = path.slice(1, -1).map(formatName)
  return {
    path,
    group: path.length > 1 ? formatName(path[0] ?? '') : null,
    label: [...between, label].join(' · '),
    unit: carried === null ? unit : (series[carried]?.unit ?? unit),
    description,
    series: carried,
  }
}
