/** Phrases that code, documents and command output do not use, each with its replacement. */
export const unplain: [phrase: RegExp, instead: string][] = [
  [/\bmend(?:s|ed|ing)?\b/gi, 'fix'],
  [/\b(?:go|goes|went|gone) on\b|(?<!\bis )\bgoing on\b/gi, 'continue, resume, restart or retry'],
  [/(?<!-)\banew\b/gi, 'again, or from scratch'],
  [/\ball the same\b/gi, 'still, or anyway'],
  [/\bfor ever\b/gi, 'permanently, or always'],
  [/\b(?:ran|runs?|running) out\b/gi, 'expire, or use up'],
  [/\b(?:is|are|was|were|be|been|being) away\b/gi, 'unavailable'],
  [/\bstumbl(?:e|es|ed|ing)\b/gi, 'fail'],
  [/\bturn(?:s|ed|ing)? (?:it |them |(?:a|the) move |the same record )?round\b/gi, 'reverse'],
  [/\b(?:she|he|him|his|hers?|(?:him|her|one)self)\b/gi, 'the user, or the process'],
  [/(?<!\b(?:last|first|other|previous|next|new|old|each|this|that|latest|second) )\bone['’]s own\b/gi, 'its own'],
  [/\b(?:whoever|whomever)\b/gi, 'the user, or the process'],
  [/\b[Ww]here (?:nobody|no one|none)\b/g, 'if no …'],
  [/\bnobody (?:tells|knows)\b|\bis nobody['’]s\b/gi, 'unknown'],
  [
    /\b(?:a|the) (?:run|version|map|deployment|turn|attempt) before\b(?=[.,;:)'`]| (?:was|is|kept|has|had|left|that|did)\b)/gi,
    'the previous …',
  ],
  [/\bit is (?:waited|said|looked)\b/gi, 'the active voice'],
  [/\bwhat is there\b/gi, 'a noun'],
  [/\b(?:is|are|was|were) there already\b/gi, 'already exist'],
  [/[,;:.] else\b|\b(?:or else|else one)\b/gi, 'otherwise, or if not'],
  [/\bcut(?:s|ting)? off\b/gi, 'interrupt, or truncate'],
  [/\b(?:break|breaks|broke|broken) off\b/gi, 'interrupt'],
  [/\b(?:come|comes|came) to nothing\b/gi, 'fail'],
  [/\b(?:let|lets|letting) (?:it |them )?go\b/gi, 'release'],
  [/\bin vain\b/gi, 'without success'],
  [/\bbeside other work\b/gi, 'on a busy machine'],
  [/\bTo when\?/g, 'the missing option, with an example'],
  [/\b(?:calls|requests|queries|times|writes|reads|[KM]B) an? (?:second|minute|hour|day)\b(?! time)/gi, 'per'],
  [
    /\b(?:one|an?|two|three|several|some|[\d,.]+) (?:\w+ )?(?:calls?|lines?|batch(?:es)?|quer(?:y|ies)|rows?|requests?|pieces?|statements?|keys?|tests?) an? (?:shard|database|user|noun|slot|move|batch|request|page|quarter|key|isolate|round|dependency|statement|field|table)\b(?! (?:makes?|made|sends?|reads?|takes?|needs?|has)\b)/gi,
    'per',
  ],
]

/** The places that use a phrase, each with some of the words around it. */
export const usesOf = (phrase: RegExp, prose: string): string[] =>
  [...prose.matchAll(phrase)].map((match) =>
    prose
      .slice(Math.max(0, match.index - 30), match.index + 40)
      .trim()
      .replaceAll(/\s+/g, ' '),
  )

/** A page with each paragraph in one line, so that a phrase may stand on two lines of the page. */
export const paragraphsOf = (page: string): string => page.replaceAll(/(?<!\n) *\n(?!\n) */g, ' ')

/** Code with each of its comments in one line. */
export const withCommentsJoined = (code: string): string =>
  code.replaceAll(/\s*\n\s*(?:\*(?!\/)|\/\/|#(?= ))[ \t]*/g, ' ')
