import { DatabaseSync } from 'node:sqlite'

/** Endings of keys, and texts. JavaScript and SQLite order some of them differently, and JSON escapes others. */
export const odd = [
  '',
  ' ',
  'A',
  'a',
  'ä',
  '\u{1f333}',
  '\uffff',
  '10',
  '2',
  "'",
  '"\\',
  '\n\t',
  '\u0001',
  'line\r\n',
  '%_',
  '{"a":[1]}',
]

/** SQL literals: values that JavaScript or JSON would change, and plain ones. */
const strangeValues = [
  "'plain'",
  "''",
  "'emoji 🌳👩‍👩‍👧‍👦'",
  "'a' || char(0) || 'b'",
  "CAST(x'ff00fe' AS TEXT)",
  "CAST(x'c328' AS TEXT)",
  `'"\\'' ]}'`,
  '9223372036854775807',
  '(-9223372036854775807 - 1)',
  '9007199254740993',
  '1.0 / 3.0',
  '1.7976931348623157e308',
  '9e999',
  '-0.0',
  "x'00ff10'",
  "x''",
  "'007'",
  '0',
  "printf('%.20000c', 'x')",
]

/** Three values per row. Few combinations, because each is a separate statement. */
export const strangeTriples: string[][] = strangeValues.map((value, index) => [
  value,
  strangeValues[(index * 7 + 3) % strangeValues.length]!,
  strangeValues[(index * 5 + 1) % strangeValues.length]!,
])

/** A table of strange rows that housekeeping never deletes from. */
export const STRANGE_TABLE = 'profiles'

const scratch = new DatabaseSync(':memory:')
scratch.exec('CREATE TABLE profiles (display_name TEXT, bio TEXT, created_at INTEGER)')
const known = new Map<string, string>()

/** A strange row's values as a text: the storage class and exact value of each. */
export const STRANGE_PRINT = ['display_name', 'bio', 'created_at']
  .map((column) => `typeof(${column}) || ' ' || quote(${column}) || ' ' || hex(${column})`)
  .join(` || ', ' || `)

/** The result in SQLite of three literals in a row's columns. */
export function expectedStrange(literals: string[]): string {
  const key = literals.join(', ')
  const found = known.get(key)
  if (found) return found
  scratch.exec(`DELETE FROM profiles; INSERT INTO profiles VALUES (${key})`)
  const { print } = scratch.prepare(`SELECT ${STRANGE_PRINT} AS print FROM profiles`).get() as { print: string }
  known.set(key, print)
  return print
}
