import { limits } from '../core/limits.ts'
import type { PackedRows } from './rows.ts'
import type { MovedTable } from './tables.ts'

/** Rows differ between the two shards. The move fails, and its report names the rows. */
export class Difference extends Error {
  override readonly name = 'Difference'
}

/** Throws `Difference` with the rows' keys unless both sides hold the same rows. */
export function compareRows(table: MovedTable, source: PackedRows, target: PackedRows): void {
  if (source.rows === target.rows && source.plain === target.plain && source.tagged === target.tagged) return
  const left = rowsByKey(table, source)
  const right = rowsByKey(table, target)
  const differences = [
    ...[...left]
      .filter(([key, row]) => right.get(key) !== row)
      .map(([key]) => [key, right.has(key) ? 'differs' : 'is missing at the target']),
    ...[...right.keys()].filter((key) => !left.has(key)).map((key) => [key, 'is at the target only']),
  ]
  // Equal rows in a different order are equal.
  if (differences.length === 0) return
  const named = differences.slice(0, limits.moveDifferencesMax).map(([key, what]) => `${table.name} ${key} ${what}`)
  const more = differences.length > named.length ? `; and ${differences.length - named.length} more` : ''
  throw new Difference(`${named.join('; ')}${more}`)
}

/** Throws `Difference` unless both sides have the same number of rows. */
export function compareCounts({ name }: MovedTable, source: PackedRows, target: PackedRows): void {
  if (source.rows === target.rows) return
  throw new Difference(`${name}: ${source.rows} rows at the source, ${target.rows} at the target`)
}

/** JavaScript reads plain rows exactly. Tagged rows are text. */
function rowsByKey({ key, columns }: MovedTable, { plain, tagged }: PackedRows): Map<string, string> {
  const places = key.map((column) => columns.indexOf(column))
  const rows = [plain, tagged].flatMap((text, isTagged) =>
    ((text === null ? [] : JSON.parse(text)) as unknown[][]).map((row) => {
      const named = places.map((place) => (isTagged ? readTagged(String(row[place])) : row[place]))
      return [JSON.stringify(named), `${isTagged}${JSON.stringify(row)}`] as const
    }),
  )
  return new Map(rows)
}

/** A value that JavaScript cannot represent exactly stays encoded, because two rows must never share a key here. */
function readTagged(text: string): string | number {
  if (text.startsWith('i')) return Number.isSafeInteger(Number(text.slice(1))) ? Number(text.slice(1)) : text
  const decoded = Buffer.from(text.slice(1), 'hex').toString()
  return decoded.includes('\ufffd') ? text : decoded
}
