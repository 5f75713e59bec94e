/**
 * Pieces of generated SQL. D1 documents 32 arguments of a function and a depth of 100 of an expression, and `a + b + c` is
 * as deep as it is long: long lists are cut into groups.
 */
const groupMax = 32

/** A name as SQL takes it, whatever is in it. Unqualified, SQLite takes one that it doesn't find for a text. */
export const quotedName = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** A text as SQL takes it. */
export const textLiteral = (text: string): string => `'${text.replaceAll("'", "''")}'`

function groupsOf<T>(items: T[]): T[][] {
  const groups: T[][] = []
  for (let start = 0; start < items.length; start += groupMax) groups.push(items.slice(start, start + groupMax))
  return groups
}

/** The terms joined by an associative operator: up to 1,024 of them are at most 64 deep. */
export function chainOf(terms: string[], operator: 'AND' | 'OR' | '+'): string {
  const chains = groupsOf(terms).map((group) => group.join(` ${operator} `))
  return chains.length === 1 ? chains[0]! : chains.map((chain) => `(${chain})`).join(` ${operator} `)
}

/**
 * `json_array` of any number of values. These are texts, numbers or NULL, so that no value but a quoted one has a bracket:
 * the brackets at the inner ends of the groups can be trimmed.
 */
export function jsonArrayOf(values: string[]): string {
  const groups = groupsOf(values)
  const arrays = groups.map((group) => `json_array(${group.join(', ')})`)
  if (arrays.length <= 1) return arrays[0] ?? 'json_array()'
  const last = arrays.length - 1
  const trimmed = arrays.map((array, index) =>
    index === 0 ? `rtrim(${array}, ']')` : index === last ? `ltrim(${array}, '[')` : `trim(${array}, '[]')`,
  )
  return trimmed.join(` || ',' || `)
}
