import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { commands } from '../../../src/cli/commands.ts'
import { commonOptions } from '../../../src/cli/shell/options.ts'
import { root } from '../../../src/cli/shell/root.ts'

const SUMMARY_CHARACTERS_MAX = 100

interface WrittenError {
  place: string
  message: string
  fix: string
}

/** The arguments of a call whose opening parenthesis is at `open`, split at commas outside of strings and brackets. */
function argumentsOf(source: string, open: number): string[] {
  const closings: string[] = []
  const cuts = [open + 1]
  for (let at = open + 1; at < source.length; at++) {
    const character = source.charAt(at)
    const closing = closings.at(-1)
    const isText = closing !== undefined && '\'"`'.includes(closing)
    if (isText && character === '\\') at++
    else if (character === closing) closings.pop()
    else if (closing === '`' && source.startsWith('${', at)) {
      closings.push('}')
      at++
    } else if (isText) continue
    else if ('\'"`'.includes(character)) closings.push(character)
    else if ('([{'.includes(character)) closings.push({ '(': ')', '[': ']', '{': '}' }[character] ?? '')
    else if (closing === undefined && character === ',') cuts.push(at + 1)
    else if (closing === undefined && character === ')') {
      const ends = [...cuts.slice(1).map((cut) => cut - 1), at]
      return cuts.map((start, index) => source.slice(start, ends[index]).trim()).filter((text) => text !== '')
    }
  }
  throw new Error('a call without an end')
}

/** A text with `…` in place of each `${…}`. */
function withoutFillIns(text: string): string {
  const start = text.indexOf('${')
  if (start < 0) return text
  let depth = 0
  let end = start + 1
  do {
    if (text[end] === '{') depth++
    if (text[end] === '}') depth--
    end++
  } while (depth > 0 && end < text.length)
  return withoutFillIns(`${text.slice(0, start)}…${text.slice(end)}`)
}

/** The strings of more than one word in an argument. There is none if the argument only names a value. */
const textsIn = (argument: string): string[] =>
  [...withoutFillIns(argument).matchAll(/'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g)]
    .map(([, single, double, template]) => (single ?? double ?? template ?? '').trim())
    .filter((text) => text.includes(' '))

const written: WrittenError[] = globSync(['src/cli/**/*.ts', 'src/app/*/*.operator.ts'], { cwd: root }).flatMap(
  (file) => {
    const source = readFileSync(path.join(root, file), 'utf8')
    return [...source.matchAll(/\bnew (?:UserError|NotNow|AnswerLost|PlatformError)\(/g)].map(({ 0: call, index }) => {
      const [message = '', fix = ''] = argumentsOf(source, index + call.length - 1)
      return { place: `${file}:${source.slice(0, index).split('\n').length}`, message, fix }
    })
  },
)

/** Fixes that reach an error by another way: constants, properties of refusals, and results of `fixFor`. */
const named: WrittenError[] = globSync('src/cli/**/*.ts', { cwd: root }).flatMap((file) => {
  const source = readFileSync(path.join(root, file), 'utf8')
  const constants = [...source.matchAll(/^(?:export )?const ([A-Z_]+) =\s*(['`][\s\S]*?['`])$/gm)].filter(([, name]) =>
    written.some(({ fix }) => new RegExp(`\\b${name}\\b`).test(fix)),
  )
  const properties = source.matchAll(/\b(fix): (['`].*['`]),?$/gm)
  const [fixFor = ''] = /function fixFor[\s\S]*?\n}/.exec(source) ?? []
  const results = fixFor.matchAll(/\b(return) (['`].*['`])$/gm)
  return [...constants, ...properties, ...results].map(([, name = '', fix = '']) => ({
    place: `${file}: ${name}`,
    message: '',
    fix,
  }))
})

const asksSomething = /\?["”’]?$/

describe('every UserError', () => {
  test('is found in the sources', () => {
    expect(written.length).toBeGreaterThan(90)
    expect(named.length).toBeGreaterThan(12)
    expect(written.filter(({ message, fix }) => message === '' || fix === '')).toEqual([])
  })

  test('has a message that is no question', () => {
    const questions = written.filter(({ message }) => textsIn(message).some((text) => asksSomething.test(text.trim())))
    expect(questions).toEqual([])
  })

  test('has a fix that is a sentence or ends with a command, and is no question', () => {
    const sentence = /^[A-Z…].*[.…]$/s
    const withCommand = /^[A-Z…].*\b(?:npm run|npx|iconv|gzip|gunzip) [^?]*$/s
    const isFix = (text: string) => !asksSomething.test(text) && (sentence.test(text) || withCommand.test(text))
    const wrong = [...written, ...named].flatMap(({ place, fix }) =>
      textsIn(fix)
        .filter((text) => !isFix(text.trim()))
        .map((text) => `${place}: ${text}`),
    )
    expect(wrong).toEqual([])
  })
})

describe.each(commands.map((command) => [command.name, command] as const))('the help of %s', (_name, command) => {
  const { summary, details = '', operands = [], options = {} } = command

  test('has a summary that starts with a verb, has no full stop and is short', () => {
    // The third person: "creates", "moves". Rule 10 of the language rules.
    expect(summary).toMatch(/^[a-z]+s\b/)
    expect(summary).not.toMatch(/\.$/)
    expect(summary.length).toBeLessThanOrEqual(SUMMARY_CHARACTERS_MAX)
  })

  test('has details of full sentences', () => {
    const paragraphs = details.split('\n').filter((paragraph) => paragraph !== '')
    expect(paragraphs.filter((paragraph) => !/^(?:[A-Z]|--).*(?:\.|npm run \w+)$/.test(paragraph))).toEqual([])
  })

  test('explains each operand and option, without a full stop', () => {
    const helps = [...operands, ...Object.values({ ...commonOptions, ...options })].map(({ help }) => help)
    expect(helps.filter((help) => !/^[a-z$.].*[^.?]$/.test(help))).toEqual([])
  })

  test('names the default of each option with a value, unless it is needed or has none', () => {
    const withoutDefault = ['to', 'on', 'choice']
    const missing = Object.entries(options).filter(
      ([name, { value, help }]) => value !== undefined && !withoutDefault.includes(name) && !/default: /.test(help),
    )
    expect(missing.map(([name]) => name)).toEqual([])
  })
})
