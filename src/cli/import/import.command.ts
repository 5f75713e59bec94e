import { defineCommand } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { fromNouns } from '../shell/nouns.ts'
import type { Importer } from './noun.ts'
import { importOptions } from './options.ts'

const importers = await fromNouns<Importer>('import')
const [importer] = importers
const mappings = importers.map(({ examples }) => `import users.sql --map ${examples.mapping}`)

export const command = defineCommand({
  name: 'import',
  summary: 'imports users from another application, and verifies them',
  details:
    'Idempotent: users that already exist stay as they are. If interrupted, run the command again to resume. Users that ' +
    'cannot be imported are written to FILE.refused.csv with the reason.',
  operands: [
    {
      name: 'FILE',
      help: '.sql dump (wrangler d1 export, sqlite3 .dump), or .csv or .tsv with a header; may be gzipped or in UTF-16',
    },
  ],
  options: importOptions(importers.flatMap(({ fields }) => Object.keys(fields))),
  examples: [...mappings, 'import users.csv --source old-shop --dry-run'],
  async run(connect, [file], options) {
    if (!importer || importers.length > 1)
      throw new UserError(
        `${importers.length} nouns of this application import records, but an import needs exactly one.`,
        'Add src/app/<noun>/import.operator.ts to exactly one noun.',
      )
    // Loaded on demand, because loading SQLite would slow down all other commands.
    const { importFile } = await import('./run.ts')
    return importFile(importer, connect, file, options)
  },
})
