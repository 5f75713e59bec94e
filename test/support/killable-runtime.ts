/** The program that `killable-stack.ts` starts and kills: the runtime, with the options in a file. */
import { readFileSync } from 'node:fs'
import { convertV4MiniflareOptions, Miniflare } from 'miniflare'

const options = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Parameters<typeof convertV4MiniflareOptions>[0]
// Nobody writes to it: it ends when whoever started this is gone, and then nothing of it may stay.
process.stdin.on('end', () => process.exit()).resume()
await new Miniflare(convertV4MiniflareOptions(options)).ready
