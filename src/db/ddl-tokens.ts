/**
 * The words of a `CREATE` statement, as far as rowmesh must read one itself: SQLite parses it too
 * and tells of columns and keys, but not of the text of a CHECK.
 *
 * @module
 */

export interface DdlToken {
  /** "quoted" is a name or text in any of SQLite's quotes. */
  readonly type: "word" | "number" | "quoted" | "mark";
  /** Words in lower case; the rest as written. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const TOKEN =
  /(?<blank>\s+|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|(?<quoted>[xX]?'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])|(?<word>[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)|(?<number>\.?\d[\w.]*)|(?<mark>[\s\S])/gu;

export function ddlTokens(sql: string): readonly DdlToken[] {
  const tokens: DdlToken[] = [];
  for (const match of sql.matchAll(TOKEN)) {
    const [text] = match;
    const groups = match.groups ?? {};
    if (groups["blank"] !== undefined) continue;
    const start = match.index;
    const end = start + text.length;
    if (groups["word"] !== undefined) {
      tokens.push({ type: "word", text: text.toLowerCase(), start, end });
    } else {
      const type = groups["quoted"] !== undefined ? "quoted" : "mark";
      tokens.push({ type: groups["number"] === undefined ? type : "number", text, start, end });
    }
  }
  return tokens;
}

/** The comma-separated parts of the parentheses that open at `open`, and where they close. */
export function partsInParentheses(
  tokens: readonly DdlToken[],
  open: number,
): { readonly parts: readonly (readonly DdlToken[])[]; readonly close: number } {
  const parts: DdlToken[][] = [[]];
  let depth = 0;
  for (let at = open; at < tokens.length; at++) {
    const token = tokens[at] as DdlToken;
    if (token.text === "(" && depth++ === 0) continue;
    if (token.text === ")" && --depth === 0) return { parts, close: at };
    if (token.text === "," && depth === 1) parts.push([]);
    else parts.at(-1)?.push(token);
  }
  return { parts, close: tokens.length };
}
