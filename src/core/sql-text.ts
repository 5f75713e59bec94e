/**
 * Pieces of generated SQL. D1 allows 32 arguments of a function and a depth of 100 of an expression, and `a + b + c` is as
 * deep as it is long. So long lists are cut into groups.
 */
const argumentsMax = 32

/** 100 terms are 20 deep so. SQLite adds up the depths of nested queries: with 32 terms a move's deepest statement had 88. */
const chainMax = 10

/** A name as SQL takes it, whatever is in it. Unqualified, SQLite takes one that it doesn't find for a text. */
export const quotedName = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** Equal for names that SQLite takes for one: it folds the case of ASCII only. */
export const foldedName = (name: string): string => name.replace(/[A-Z]/g, (letter) => letter.toLowerCase())

/** A text as SQL takes it. */
export const textLiteral = (text: string): string => `'${text.replaceAll("'", "''")}'`

function groupsOf<T>(items: T[], size: number): T[][] {
  const groups: T[][] = []
  for (let start = 0; start < items.length; start += size) groups.push(items.slice(start, start + size))
  return groups
}

/** The terms joined by an associative operator, ten times as many for each ten of depth. */
export function chainOf(terms: string[], operator: 'AND' | 'OR' | '+'): string {
  const chains = groupsOf(terms, chainMax).map((group) => group.join(` ${operator} `))
  const [chain, ...others] = chains
  if (chain !== undefined && others.length === 0) return chain
  return chainOf(
    chains.map((each) => `(${each})`),
    operator,
  )
}

/**
 * `json_array` of any number of values. These are texts, numbers or NULL, so that no value but a quoted one has a bracket:
 * the brackets at the inner ends of the groups can be trimmed.
 */
export function jsonArrayOf(values: string[]): string {
  const groups = groupsOf(values, argumentsMax)
  const arrays = groups.map((group) => `json_array(${group.join(', ')})`)
  if (arrays.length <= 1) return arrays[0] ?? 'json_array()'
  const last = arrays.length - 1
  const trimmed = arrays.map((array, index) =>
    index === 0 ? `rtrim(${array}, ']')` : index === last ? `ltrim(${array}, '[')` : `trim(${array}, '[]')`,
  )
  return trimmed.join(` || ',' || `)
}
