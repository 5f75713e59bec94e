/** A command of the tour, as written on its page. */
export interface TourCommand {
  /** `npm run banyan --` or `npm run deploy`. */
  script: string
  args: string[]
  /** The output on the page. */
  output: string
  /** Offsets of the command and its output on the page. */
  from: number
  to: number
}

export interface Said {
  command: TourCommand
  /** The arguments, with the ids of this run. */
  args: string[]
  text: string
}

/** The hosts for the commands, and the pages of docs/operating that run on each, in order. */
export const tourPages = {
  tour: ['tour.md'],
  deploying: ['deploying.md', 'rolling-back.md'],
}

const BLOCK = /^```console\n\$ npm run (banyan --|deploy)((?: .+)?)\n([\s\S]*?)^```$/gm

/** The commands of a page: `console` blocks that start with `$ npm run banyan -- …` or `$ npm run deploy`. */
export function commandsOf(text: string): TourCommand[] {
  return [...text.matchAll(BLOCK)].map((match) => {
    const [whole, script, args, output] = match as unknown as [string, string, string, string]
    const from = match.index + '```console\n'.length
    const to = match.index + whole.length - '```'.length
    return { script: `npm run ${script}`, args: args.split(' ').filter((arg) => arg !== ''), output, from, to }
  })
}

const lineOf = ({ script }: TourCommand, args: string[]): string => ['$', script, ...args].join(' ')

/** The page with the outputs of this run, and the places where they differ from the page's. */
export function withOutputs(text: string, said: Said[]): { written: string; differences: string[] } {
  let written = text
  const differences: string[] = []
  for (const { command, args, text: now } of said.toReversed()) {
    const block = `${lineOf(command, args)}\n${shortened(now)}\n`
    written = written.slice(0, command.from) + block + written.slice(command.to)
    const [documented, actual] = [comparable(command.output), comparable(now)]
    if (documented !== actual)
      differences.unshift(`${lineOf(command, command.args)}\n--- page\n${documented}\n--- now\n${actual}`)
  }
  return { written, differences }
}

/** Which progress lines are printed depends on the speed of the machine. */
const PROGRESS =
  /^(?:<id> {2}shard-\d{3} → shard-\d{3} .*| *\d+ of \d+ {2}.*| *<s> .* in flight|(?: *\d+% {2})?(?:signing up|reading back|reading|importing|sending|verifying):? .*|…|.*does not answer.*|It answers again\.)$/

/** Keeps the first two and the last of many progress lines. */
function shortened(text: string): string {
  const lines: string[] = []
  let progress: string[] = []
  const flush = () => {
    lines.push(...(progress.length > 4 ? [...progress.slice(0, 2), '…', progress.at(-1)!] : progress))
    progress = []
  }
  for (const line of text.split('\n')) {
    if (PROGRESS.test(withoutFigures(line))) progress.push(line)
    else {
      flush()
      lines.push(line)
    }
  }
  flush()
  return lines.join('\n')
}

/** The part that must be the same in every run. */
export function comparable(text: string): string {
  return withoutFigures(text)
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => !PROGRESS.test(line))
    .map((line) => line.replaceAll(/(?<=^|[\s(])\d[\d,.]*%?(?=[\s,;:.)/]|$)/g, '#').replaceAll(/ {2,}/g, '  '))
    .join('\n')
    .trimEnd()
}

function withoutFigures(text: string): string {
  return text
    .replaceAll(/\b01[0-9a-z]{24}\b/g, '<id>')
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/g, '<time>')
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, '<time>')
    .replaceAll(/\b[\d,.]+ ms\b/g, '<ms>')
    .replaceAll(/\b[\d,.]+ s\b/g, '<s>')
    .replaceAll(/\b[\d.]+ [kM]?B\b/g, '<size>')
    .replaceAll(/\brun load_\w+/g, 'run <run>')
    .replaceAll(/http:\/\/127\.0\.0\.1:\d+/g, '<address>')
    .replaceAll(/(?<=token: )\S+/g, '<token>')
    .replaceAll(/(?<=[.-])[0-9a-f]{16}\b/g, '<hash>')
    .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<uuid>')
    .replaceAll(/\bseed \d+/g, 'seed <seed>')
    .replaceAll(/\b([\d,]+) (row|post|profile|user)s?\b/g, '$1 $2s')
}
