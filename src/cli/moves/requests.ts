import type { Move, MovePage, OneMove } from '../../console/shapes.ts'
import { present } from '../../core/present.ts'
import type { Connection } from '../shell/client.ts'
import type { Output } from '../shell/command.ts'
import { pagesOf } from '../shell/pages.ts'

const PAGE_MOVES = 100

export const MOVES = '/operator/v1/moves'
export const moveAt = (id: string): string => `${MOVES}/${encodeURIComponent(id)}`

/** Pages of all moves, newest first. */
export const movePages = (connection: Pick<Connection, 'get'>): AsyncGenerator<MovePage> =>
  pagesOf((cursor) => {
    const after = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
    return connection.get<MovePage>(`${MOVES}?limit=${PAGE_MOVES}${after}`)
  })

/** Reads moves by their ids. Several moves are read from the list, which takes one request per 100 moves. */
export const reader =
  (connection: Connection) =>
  async (ids: string[]): Promise<Move[]> => {
    const [only] = ids
    if (only !== undefined && ids.length === 1) return [(await connection.get<OneMove>(moveAt(only))).move]
    const found = new Map<string, Move>()
    for await (const { items } of movePages(connection)) {
      for (const move of items) found.set(move.id, move)
      if (ids.every((id) => found.has(id))) break
    }
    return ids.map((id) => present(found.get(id), `the move ${id}`))
  }

export const moveOperand = { name: 'ID', help: 'id of the move, from moves list' }

/** A command's `run` that requests one change of a move, and prints `textOf` the changed move. */
export const steering =
  (verb: string, textOf: (move: Move) => string) =>
  async (connect: () => Connection, [id]: [string]): Promise<Output> => {
    const answer = await connect().post<OneMove>(`${moveAt(id)}/${verb}`)
    return { json: answer, text: textOf(answer.move) }
  }
