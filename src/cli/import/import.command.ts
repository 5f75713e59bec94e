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
  summary: 'imports users from another application',
  details: 'If stopped or killed, run the command again to resume. Users that are there already stay as they are.',
  operands: [
    {
      name: 'FILE',
      help: 'a .sql dump (wrangler d1 export, sqlite3 .dump), or a .csv or .tsv with a header; also in gzip and UTF-16',
    },
  ],
  options: importOptions(importers.flatMap(({ fields }) => Object.keys(fields))),
  examples: [...mappings, 'import users.csv --source old-shop --dry-run'],
  async run(connect, [file], options) {
    if (!importer || importers.length > 1)
      throw new UserError(
        `${importers.length} nouns of this application import records, and an import needs one.`,
        'Write src/app/<noun>/import.operator.ts in one of them.',
      )
    // Loaded when it is asked for: SQLite would slow all other commands down.
    const { importFile } = await import('./run.ts')
    return importFile(importer, connect, file, options)
  },
})
