import { parseArgs } from 'node:util'
import { UserError } from '../src/cli/shell/errors.ts'
import { wholeNumber } from '../src/cli/shell/whole-number.ts'

const PORT_MAX = 65_535
const PORT_USUAL = '8787'

export interface DevOptions {
  isHelp: boolean
  /** 0 chooses a free port. */
  port: number
  shards: string | undefined
  config: string | undefined
  persistTo: string | undefined
  /** Other arguments, passed on to wrangler dev unchanged. */
  rest: string[]
}

/** Takes this command's own options out of the arguments; wrangler dev checks the rest. Throws UserError. */
export function readDevOptions(args: string[]): DevOptions {
  const { values, tokens } = parseArgs({
    args,
    options: {
      shards: { type: 'string' },
      port: { type: 'string' },
      config: { type: 'string' },
      'persist-to': { type: 'string' },
      help: { type: 'boolean' },
    },
    strict: false,
    tokens: true,
  })
  const text = (name: 'shards' | 'port' | 'config' | 'persist-to'): string | undefined => {
    const value = values[name]
    if (value === undefined) return undefined
    // `parseArgs` with `strict: false` takes the next option as the value.
    if (typeof value === 'string' && value !== '' && !value.startsWith('--')) return value
    throw new UserError(`--${name} has no value.`, 'Pass a value after it, or omit the option.')
  }
  const ours = new Set(['shards', 'port', 'config', 'persist-to'])
  const taken = new Set<number>()
  for (const token of tokens) {
    if (token.kind !== 'option' || !ours.has(token.name)) continue
    taken.add(token.index)
    if (!token.inlineValue && token.value !== undefined) taken.add(token.index + 1)
  }
  return {
    isHelp: values.help === true,
    port: wholeNumber('--port', text('port') ?? PORT_USUAL, 0, PORT_MAX),
    shards: text('shards'),
    config: text('config'),
    persistTo: text('persist-to'),
    rest: args.filter((_, index) => !taken.has(index)),
  }
}
