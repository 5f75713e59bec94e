/**
 * Builds parts of generated SQL. D1 allows a function 32 arguments and an expression a depth of 100, and `a + b + c` is
 * as deep as it is long. Therefore long lists are split into groups.
 */
const argumentsMax = 32

/**
 * With groups of ten, 100 terms are 20 deep. SQLite adds up the depths of nested queries: with groups of 32, a move's
 * deepest statement had a depth of 88.
 */
const chainMax = 10

/** A quoted SQL name, whatever it contains. If SQLite finds no column for an unqualified one, it reads it as a text. */
export const quotedName = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** Equal for names that SQLite considers equal. It folds the case of ASCII letters only. */
export const foldedName = (name: string): string => name.replace(/[A-Z]/g, (letter) => letter.toLowerCase())

/** A quoted SQL text. */
export const textLiteral = (text: string): string => `'${text.replaceAll("'", "''")}'`

function groupsOf<T>(items: T[], size: number): T[][] {
  const groups: T[][] = []
  for (let start = 0; start < items.length; start += size) groups.push(items.slice(start, start + size))
  return groups
}

/** Joins terms with an associative operator. Ten times the terms add ten to the depth. */
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
 * `json_array` of any number of values, which are texts, numbers or NULL. Only a quoted value can contain a bracket, so
 * the brackets between groups can be trimmed.
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
