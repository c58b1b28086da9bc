/** Names of opcodes, for messages (Python's `pickletools`). */
const names: Record<number, string> = {
  40: 'MARK', 46: 'STOP', 48: 'POP', 49: 'POP_MARK', 50: 'DUP', 66: 'BINBYTES', 67: 'SHORT_BINBYTES', 70: 'FLOAT',
  71: 'BINFLOAT', 73: 'INT', 74: 'BININT', 75: 'BININT1', 76: 'LONG', 77: 'BININT2', 78: 'NONE', 80: 'PERSID',
  81: 'BINPERSID', 82: 'REDUCE', 83: 'STRING', 84: 'BINSTRING', 85: 'SHORT_BINSTRING', 86: 'UNICODE',
  88: 'BINUNICODE', 97: 'APPEND', 98: 'BUILD', 99: 'GLOBAL', 100: 'DICT', 101: 'APPENDS', 103: 'GET', 104: 'BINGET',
  105: 'INST', 106: 'LONG_BINGET', 108: 'LIST', 111: 'OBJ', 112: 'PUT', 113: 'BINPUT', 114: 'LONG_BINPUT',
  115: 'SETITEM', 116: 'TUPLE', 117: 'SETITEMS', 128: 'PROTO', 129: 'NEWOBJ', 130: 'EXT1', 131: 'EXT2', 132: 'EXT4',
  146: 'NEWOBJ_EX', 150: 'BYTEARRAY8', 151: 'NEXT_BUFFER', 152: 'READONLY_BUFFER',
};

export function opcodeName(opcode: number): string {
  return names[opcode] ?? `0x${opcode.toString(16).padStart(2, '0')}`;
}
