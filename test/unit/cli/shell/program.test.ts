import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import path from 'node:path'
import type { Command as Program } from 'commander'
import { expect, test } from 'vitest'
import { commands } from '../../../../src/cli/commands.ts'
import { defineCommand } from '../../../../src/cli/shell/command.ts'
import { commonOptions, watchOptions } from '../../../../src/cli/shell/options.ts'
import { programOf, withHelpFirst } from '../../../../src/cli/shell/program.ts'
import { root } from '../../../../src/cli/shell/root.ts'

const nothing = async () => {}
const program = programOf(commands, nothing)

function helpOf(name: string): string {
  const words = name === '' ? [] : name.split(' ')
  const command = words.reduce<Program>((at, word) => at.commands.find((one) => one.name() === word)!, program)
  const parts: string[] = []
  command.configureOutput({ writeOut: (part) => parts.push(part), getOutHelpWidth: () => 1_000 })
  command.outputHelp()
  return parts.join('')
}

test('a command file has the name of its verb', () => {
  const verbs = globSync('*/*.command.ts', { cwd: path.join(root, 'src/cli') }).map((file) =>
    path.basename(file, '.command.ts'),
  )
  expect(commands.map(({ name }) => name.split(' ').at(-1)).toSorted()).toEqual(verbs.toSorted())
})

test.each(commands.map((command) => [command.name, command] as const))(
  'the help of %s has its summary, operands, options and examples, and the common options',
  (name, { summary, details = '', operands = [], options = {}, examples = [] }) => {
    const help = helpOf(name)
    const parts = [
      [`Usage: banyan ${name}`, summary, ...details.split('\n')],
      operands.flatMap((operand) => [operand.isList ? `[${operand.name}...]` : `<${operand.name}>`, operand.help]),
      Object.entries({ ...commonOptions, ...options }).flatMap(([option, one]) => [`--${option}`, one.help]),
      examples.map((example) => `npm run banyan -- ${example}`),
    ].flat()
    expect(parts.filter((part) => !help.includes(part))).toEqual([])
  },
)

test('the help of the program and of a noun lists their commands', () => {
  const whole = helpOf('')
  for (const { name, summary } of commands) {
    const [first, verb] = name.split(' ')
    expect(whole).toContain(`  ${first} `)
    expect(verb === undefined ? whole : helpOf(first!)).toContain(summary)
  }
})

test.each([
  [[], ['--help']],
  [['help'], ['--help']],
  [
    ['help', 'moves'],
    ['moves', '--help'],
  ],
  [
    ['help', 'moves', 'start'],
    ['moves', 'start', '--help'],
  ],
  // An operand is not part of the command's name. The help is printed, and nothing is imported.
  [
    ['help', 'import', 'users.sql'],
    ['import', '--help'],
  ],
  [
    ['help', 'moves', 'strat', 'x'],
    ['moves', 'strat'],
  ],
  [
    ['shards', 'list'],
    ['shards', 'list'],
  ],
])('%j is read as %j', (given, taken) => {
  expect(withHelpFirst(program, given)).toEqual(taken)
})

test.each([
  ['mix down', []],
  ['mix down A', ['A']],
  ['mix down A B --json C', ['A', 'B', 'C']],
])('%s: an operand that is a list takes any number', async (line, operands) => {
  const seen: unknown[] = []
  const command = defineCommand({
    name: 'mix down',
    summary: 'mixes down',
    operands: [{ name: 'ONE', help: 'a few', isList: true }],
    run: async () => ({ json: null, text: '' }),
  })
  const mixing = programOf([command], async (_command, given) => void seen.push(given))
  await mixing.parseAsync(line.split(' '), { from: 'user' })
  expect(seen).toEqual([operands])
})

test.each([
  ['mix up A B', {}],
  ['mix up A B --no-wait --dry-run', { 'no-wait': true, 'dry-run': true }],
  ['mix up A --until done B --json', { until: 'done', json: true }],
  ['--url https://a.example mix up --name=x A B', { url: 'https://a.example', name: 'x' }],
  ['mix --token t up A B --name -1', { token: 't', name: '-1' }],
])('%s: the values are keyed by the names of their options', async (line, values) => {
  const seen: unknown[] = []
  const command = defineCommand({
    name: 'mix up',
    summary: 'mixes',
    operands: [
      { name: 'ONE', help: 'one' },
      { name: 'TWO', help: 'another' },
    ],
    options: { ...watchOptions, 'dry-run': { help: 'no' }, name: { value: 'NAME', help: 'a name' } },
    run: async () => ({ json: null, text: '' }),
  })
  const mixing = programOf([command], async (_command, operands, given) => void seen.push(operands, given))
  await mixing.parseAsync(line.split(' '), { from: 'user' })
  expect(seen).toEqual([['A', 'B'], values])
})

function banyan(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['src/cli/main.ts', ...args], {
    cwd: root,
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

test.each([
  ['shards add --cnut 2', "Unknown option '--cnut'\n(Did you mean --count?)", 'shards add'],
  ['moves strat 00 shard-001', "Unknown command 'strat'\n(Did you mean start?)", 'moves'],
  ['rebalance --tolerence 0.1', "Unknown option '--tolerence'\n(Did you mean --tolerance?)", 'rebalance'],
  ['moves show', "Missing required argument 'ID'", 'moves show'],
])('%s: the error names the mistake, the nearest name and the help', (line, wrong, helped) => {
  const { status, stdout, stderr } = banyan(...line.split(' '))
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
  expect(stderr.trim().split('\n').slice(0, -1).join('\n')).toBe(wrong)
  expect(stderr.trim().split('\n').at(-1)).toMatch(new RegExp(`: npm run banyan -- help ${helped}$`))
})

test('without arguments, the program prints its help', () => {
  expect(banyan()).toMatchObject({ status: 0, stderr: '', stdout: expect.stringContaining('Usage: banyan') })
})

test.each([
  ['a noun', ['mo'], ['moves']],
  ['a verb', ['moves', 're'], ['resolve', 'reverse']],
  ['an option', ['shards', 'add', '--co'], ['--count', '--config']],
  ['a choice', ['moves', 'start', '00', 'shard-001', '--until', ''], ['settling', 'done']],
])('the shell completes %s', (_, words, offered) => {
  const { status, stdout } = banyan('complete', '--', ...words)
  const names = stdout.split('\n').flatMap((line) => (/^(?::|$)/.test(line) ? [] : [line.split('\t')[0]!]))
  expect({ status, names: names.toSorted() }).toEqual({ status: 0, names: offered.toSorted() })
})

test.each(['bash', 'zsh'])('the completion for %s is a script that calls the command', (shell) => {
  const { status, stdout } = banyan('complete', shell)
  expect({ status, asks: stdout.includes('banyan complete --') }).toEqual({ status: 0, asks: true })
})
