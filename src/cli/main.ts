/** `banyan <noun> <verb>`: the operators' command. Talks to the operators' API of a running Banyan. */
import { parseArgs } from 'node:util'
import { connect } from './client.ts'
import { UserError } from './errors.ts'
import { helpText } from './help.ts'
import { listShards } from './shards.ts'

/** What a command prints: rows for people, or the API's own answer with `--json`. */
export interface Output {
  json: unknown
  text: string
}

const commands: Record<string, (connection: ReturnType<typeof connect>) => Promise<Output>> = {
  'shards list': listShards,
}

async function run(args: string[]): Promise<void> {
  const { values, positionals } = readArguments(args)
  const name = positionals.join(' ')
  if (values.help || name === '' || name === 'help') return void console.log(helpText)
  const command = commands[name]
  if (!command) throw new UserError(`There is no command "${name}".`, 'Known commands: npm run banyan -- help')
  const output = await command(connect(values))
  console.log(values.json ? JSON.stringify(output.json, null, 2) : output.text)
}

function readArguments(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        url: { type: 'string' },
        token: { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    throw new UserError((error as Error).message, 'Options and examples: npm run banyan -- help')
  }
}

try {
  await run(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UserError)) throw error
  console.error(`${error.message}\n${error.howToMend}`)
  process.exitCode = 1
}
