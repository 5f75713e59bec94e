import { Option, Command as Program } from 'commander'
import type { Command } from './command.ts'
import { commonOptions, type OptionDefinition, type OptionDefinitions, type OptionValues } from './options.ts'

export type CarryOut = (
  command: Command,
  operands: string[],
  values: OptionValues<OptionDefinitions & typeof commonOptions>,
) => Promise<void>

const nouns: Record<string, string> = {
  backfill: 'changes all rows of a table while users write',
  'dead-letters': 'lists, redrives and discards jobs that used up their attempts',
  jobs: 'lists, pauses and resumes kinds of jobs and queues',
  keyspaces: 'lists table groups, and moves one to a shard',
  migrations: 'shows and applies migrations of the shards’ databases',
  moves: 'moves slots between shards',
  replicas: 'enables, disables and checks read replicas of the databases',
  shards: 'lists, adds, drains and removes shards',
  users: 'lists the users of all shards',
}

const FOOTER = `
The exit code is 1 if the command fails; if a watched move fails or is aborted;
if a load finds a lost or doubled write, a stale read of the writer's own data,
an overdue read or a refused request; if an import finds users that are missing
or differ; if a shard did not answer a list of users, jobs or dead letters; or
if a probe fails.

Run it from your clone as: npm run banyan -- <noun> <verb>. For example:
  npm run banyan -- shards list --url https://banyan.example.com
  npm run banyan -- moves start 0000-0fff shard-001
  npm run banyan -- help moves start`

/** Builds commander's program: each noun is a command with its verbs as subcommands. */
export function programOf(commands: Command[], carryOut: CarryOut): Program {
  const program = new Program('banyan')
    .description('Operates a Banyan application: its shards, moves, migrations and deployments.')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: (.)/, (_, first) => first.toUpperCase())),
    })
    .showHelpAfterError('Commands: npm run banyan -- help')
    .addHelpText('after', FOOTER)
  for (const option of optionsOf(commonOptions)) program.addOption(option)
  for (const command of commands) {
    const [first = '', verb] = command.name.split(' ')
    const parent = verb === undefined ? program : nounOf(program, first)
    add(parent.command(verb ?? first), command, carryOut)
  }
  return program
}

function nounOf(program: Program, noun: string): Program {
  const known = program.commands.find((command) => command.name() === noun)
  return (
    known ??
    program
      .command(noun)
      .description(nouns[noun] ?? '')
      .showHelpAfterError(`Commands: npm run banyan -- help ${noun}`)
  )
}

function add(made: Program, command: Command, carryOut: CarryOut): void {
  const { name, summary, details, operands = [], options = {}, examples = [] } = command
  made.summary(summary).description(summary)
  // The shell completion prints the description, which must be one line. The details belong only in the command's help.
  const description = details ? `${summary}\n\n${details}` : summary
  made.configureHelp({ ...made.configureHelp(), commandDescription: () => description })
  made.showHelpAfterError(`Options and examples: npm run banyan -- help ${name}`)
  for (const { name, help, isList } of operands) made.argument(isList ? `[${name}...]` : `<${name}>`, help)
  const own = optionsOf(options)
  for (const option of own) made.addOption(option)
  if (examples.length > 0) {
    const lines = examples.map((example) => `  npm run banyan -- ${example}`)
    made.addHelpText('after', `\nExamples:\n${lines.join('\n')}`)
  }
  made.action(() => carryOut(command, made.args, valuesOf(made, [...own, ...optionsOf(commonOptions)])))
}

const optionsOf = (definitions: OptionDefinitions): Option[] =>
  Object.entries(definitions).map(([name, { value, choices, help }]: [string, OptionDefinition]) => {
    const option = new Option(value === undefined ? `--${name}` : `--${name} <${value}>`, help)
    return choices ? option.choices(choices) : option
  })

/** Keyed by the options' defined names. commander stores `--no-wait` as `wait: false`. */
function valuesOf(made: Program, options: Option[]): Parameters<CarryOut>[2] {
  const given = made.optsWithGlobals()
  const values = options.flatMap((option) => {
    const value: unknown = given[option.attributeName()]
    const isGiven = option.negate ? value === false : value !== undefined
    return isGiven && option.long ? [[option.long.slice(2), option.negate ? true : value]] : []
  })
  return Object.fromEntries(values)
}

/** Rewrites `help moves start` to `moves start --help`, and no arguments to `--help`. */
export function withHelpFirst(program: Program, args: string[]): string[] {
  if (args.length === 0) return ['--help']
  if (args[0] !== 'help') return args
  const named: string[] = []
  let command = program
  for (const word of args.slice(1)) {
    if (command.commands.length === 0) break
    named.push(word)
    const next = command.commands.find((one) => one.name() === word)
    if (!next) return named
    command = next
  }
  return [...named, '--help']
}
