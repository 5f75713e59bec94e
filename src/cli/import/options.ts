import type { OptionDefinitions, OptionValues } from '../shell/options.ts'

/** `fields`: names of a record's fields. */
export const importOptions = (fields: string[]) =>
  ({
    table: { value: 'NAME', help: 'table in the dump (default: users)' },
    map: {
      value: 'FIELD=COLUMN,…',
      help: `columns of the fields ${fields.join(' ')} (default: guessed from the columns’ names; FIELD= omits a field)`,
    },
    source: {
      value: 'NAME',
      help: 'name of the application that the users come from, a permanent part of their ids (default: the file’s name)',
    },
    'dry-run': { help: 'read and check everything, and send nothing' },
    delimiter: {
      value: 'CHARACTER',
      help: 'character between the fields, or the word tab (default: taken from the first line)',
    },
    escape: {
      value: 'HOW',
      help: 'backslash if backslashes escape, as in files of MySQL and COPY, or none (default: none)',
    },
    null: { value: 'TEXT', help: 'unquoted text that means NULL, in addition to \\N (default: only \\N)' },
    fill: { help: 'treat fields missing at the end of a record as empty, because Excel omits them' },
    encoding: {
      value: 'NAME',
      help: 'utf-8, utf-16le, utf-16be or windows-1252 (default: utf-8, or UTF-16 if detected)',
    },
    verify: { value: 'HOW', help: 'users to verify at the end: all, sample (1,000 users) or none (default: all)' },
  }) as const satisfies OptionDefinitions

export type ImportOptions = OptionValues<ReturnType<typeof importOptions>>
