import path from 'node:path'
import { UserError } from '../shell/errors.ts'

interface Foreign {
  is: string
  /** The fix for a file. `columns` are likely columns, for an example. */
  fix: (file: string, columns: readonly string[]) => string
}

const without = (file: string): string => file.slice(0, file.length - path.extname(file).length) || file
/** Quotes a file name for a shell command. */
export const inShell = (file: string): string => (/^[\w./-]+$/.test(file) ? file : `'${file.replaceAll("'", "'\\''")}'`)
const EXPORT_POSTGRES = `psql DATABASE -c "\\copy users TO 'users.csv' WITH (FORMAT csv, HEADER)"`
const EXPORT_MYSQL =
  "mysql --batch -e 'SELECT * FROM users' DATABASE > users.tsv\nand import that with --escape backslash --null NULL."
const importThen = (command: string, file: string): string => `${command}\nand import ${file}.`

/** Recognised by their first bytes at an offset. */
const byBytes: (Foreign & { at: number; bytes: string })[] = [
  {
    at: 0,
    bytes: 'SQLite format 3\0',
    is: 'a SQLite database',
    fix: (file) => importThen(`Dump it: sqlite3 ${inShell(file)} .dump > users.sql`, 'users.sql'),
  },
  {
    at: 0,
    bytes: 'PGDMP',
    is: 'a PostgreSQL dump in the custom format',
    fix: (file) =>
      importThen(
        `Restore it, and export the table: pg_restore -d DATABASE ${inShell(file)}, then ${EXPORT_POSTGRES}`,
        'users.csv',
      ),
  },
  {
    at: 0,
    bytes: 'PK\u0003\u0004',
    is: 'a zip archive, or an Excel workbook',
    fix: (file) =>
      `Unpack an archive: unzip ${inShell(file)}. In Excel, save the sheet of a workbook (.xlsx) as “CSV UTF-8”. Then import the resulting file.`,
  },
  {
    at: 0,
    bytes: '\xd0\xcf\x11\xe0',
    is: 'an Excel workbook (.xls)',
    fix: () => 'Save the sheet in Excel as “CSV UTF-8”, and import that file.',
  },
  {
    at: 0,
    bytes: 'BZh',
    is: 'compressed with bzip2',
    fix: (file) => importThen(`Decompress it: bunzip2 -k ${inShell(file)}`, without(file)),
  },
  {
    at: 0,
    bytes: '\xfd7zXZ\0',
    is: 'compressed with xz',
    fix: (file) => importThen(`Decompress it: unxz -k ${inShell(file)}`, without(file)),
  },
  {
    at: 0,
    bytes: '\x28\xb5\x2f\xfd',
    is: 'compressed with zstd',
    fix: (file) => importThen(`Decompress it: zstd -d ${inShell(file)}`, without(file)),
  },
  {
    at: 0,
    bytes: '7z\xbc\xaf',
    is: 'a 7z archive',
    fix: (file) => `Unpack it: 7z x ${inShell(file)}. Import the file in it.`,
  },
  { at: 0, bytes: '\x1f\x8b', is: 'compressed twice', fix: (file) => `Unpack it once: gunzip -k ${inShell(file)}` },
  {
    at: 257,
    bytes: 'ustar',
    is: 'a tar archive',
    fix: (file) => `Unpack it: tar -xf ${inShell(file)}. Import the file in it.`,
  },
]

/** Recognised by their text. */
const byText: (Foreign & { pattern: RegExp })[] = [
  {
    pattern: /^\s*(?:\{\s*"|\[\s*\{)/,
    is: 'JSON',
    fix: (file, columns) =>
      importThen(
        `Write its fields as CSV: jq -r '${JSON.stringify(columns)}, (.[] | [${columns.map((name) => `.${name}`).join(', ')}]) | @csv' ${inShell(file)} > users.csv`,
        'users.csv',
      ),
  },
  {
    pattern: /^--\s*PostgreSQL database (?:cluster )?dump/m,
    is: 'a PostgreSQL dump, which SQLite cannot read',
    fix: () => importThen(`Export the table instead: ${EXPORT_POSTGRES}`, 'users.csv'),
  },
  {
    pattern: /^(?:--\s*(?:MySQL|MariaDB|phpMyAdmin SQL) dump|\/\*!\d{5}|\/\*M!\d{6})/im,
    is: 'a MySQL or MariaDB dump, which SQLite cannot read',
    fix: () => `Export the table instead: ${EXPORT_MYSQL}`,
  },
]

/** Throws UserError for known formats that an import does not read, with the command that converts the file. */
export function refuseForeignBytes(head: Buffer, file: string, columns: readonly string[]): void {
  const text = head.toString('latin1', 0, 512)
  refuse(
    byBytes.find(({ at, bytes }) => text.startsWith(bytes, at)),
    file,
    columns,
  )
}

/** Like `refuseForeignBytes`, for formats that are recognised by their text. */
export function refuseForeignText(text: string, file: string, columns: readonly string[]): void {
  const head = text.slice(0, 4_096)
  refuse(
    byText.find(({ pattern }) => pattern.test(head)),
    file,
    columns,
  )
}

function refuse(foreign: Foreign | undefined, file: string, columns: readonly string[]): void {
  if (foreign) throw new UserError(`${file} is ${foreign.is}.`, foreign.fix(file, columns))
}
