import type { OptionDefinitions, OptionValues } from '../shell/options.ts'

/** `fields`: what a record of the application has. */
export const importOptions = (fields: string[]) =>
  ({
    table: { value: 'NAME', help: 'the dump’s table (default: users)' },
    map: {
      value: 'FIELD=COLUMN,…',
      help: `fields: ${fields.join(' ')}; those not named are guessed from the columns’ names, and FIELD= leaves one out`,
    },
    source: {
      value: 'NAME',
      help: 'the application that the users come from, permanently part of the ids (default: the file’s name)',
    },
    'dry-run': { help: 'read and check everything, and send nothing' },
    delimiter: {
      value: 'CHARACTER',
      help: 'between the fields, or tab (default: the one that the first line has)',
    },
    escape: {
      value: 'HOW',
      help: 'backslash or none: whether a backslash escapes, as in files of MySQL and COPY (default: none)',
    },
    null: { value: 'TEXT', help: 'an unquoted field that is NULL, besides \\N' },
    fill: { help: 'take fields that are missing at the end of a record as empty; Excel leaves them out' },
    encoding: {
      value: 'NAME',
      help: 'utf-8, utf-16le, utf-16be or windows-1252 (default: UTF-8, and UTF-16 where the file shows it)',
    },
    verify: { value: 'HOW', help: 'ask the server, when done, of all users (the default), a sample of 1,000, or none' },
  }) as const satisfies OptionDefinitions

export type ImportOptions = OptionValues<ReturnType<typeof importOptions>>
