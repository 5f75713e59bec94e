/** The program that `killable-stack.ts` starts and kills: the runtime, with its options in a file. */
import { readFileSync } from 'node:fs'
import { convertV4MiniflareOptions, Miniflare } from 'miniflare'

const options = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Parameters<typeof convertV4MiniflareOptions>[0]
// Nothing is written to stdin. It closes when the parent process exits, and then this process must exit too.
process.stdin.on('end', () => process.exit()).resume()
await new Miniflare(convertV4MiniflareOptions(options)).ready
