-- SPDX-License-Identifier: Apache-2.0
-- Copyright The Kestrel Authors
--
-- Wireshark dissector of Kestrel aggregation packets (contract/wire.json, version 2): UDP port 19283.
local kestrel = Proto("kestrel", "Kestrel aggregation")

local types = {"DATA", "RESULT", "PARTIAL", "REMINDER", "RESEND", "ACK", "NORM", "NORM_RESULT",
  "START", "START_RESULT"}
local formats = {[0] = "NONE", "INT32", "THC_INDEX4", "THC_SUM8", "THC_SUM16", "FP32"}

local f = {
  magic = ProtoField.uint8("kestrel.magic", "Magic", base.HEX),
  epoch = ProtoField.uint8("kestrel.epoch", "Epoch"),
  version = ProtoField.uint8("kestrel.version", "Version", base.DEC, nil, 0xF0),
  format = ProtoField.uint8("kestrel.format", "Value format", base.DEC, formats, 0x0F),
  type = ProtoField.uint8("kestrel.type", "Type", base.DEC, types),
  flags = ProtoField.uint8("kestrel.flags", "Flags", base.HEX),
  collision = ProtoField.bool("kestrel.flags.collision", "Collision", 8, nil, 0x01),
  ecn = ProtoField.bool("kestrel.flags.ecn", "Congestion", 8, nil, 0x02),
  negative = ProtoField.bool("kestrel.flags.negative", "Negative", 8, nil, 0x04),
  retransmit = ProtoField.bool("kestrel.flags.retransmit", "Retransmission", 8, nil, 0x08),
  set = ProtoField.bool("kestrel.flags.set", "Second set", 8, nil, 0x10),
  fan_in = ProtoField.uint8("kestrel.fan_in", "Fan-in"),
  prio = ProtoField.uint8("kestrel.prio", "Priority"),
  count = ProtoField.uint8("kestrel.count", "Contributions"),
  job = ProtoField.uint16("kestrel.job", "Job"),
  slot = ProtoField.uint16("kestrel.slot", "Slot"),
  seq = ProtoField.uint32("kestrel.seq", "Sequence number"),
  bitmap = ProtoField.uint32("kestrel.bitmap", "Workers", base.HEX),
  config = ProtoField.uint16("kestrel.config", "Configuration tag", base.HEX),
  values = ProtoField.bytes("kestrel.values", "Values"),
}
kestrel.fields = f

function kestrel.dissector(buffer, pinfo, tree)
  if buffer:len() < 22 or buffer(0, 1):uint() ~= 0x4B then
    return 0
  end
  pinfo.cols.protocol = "KESTREL"
  local version = buffer(2, 1):bitfield(0, 4)
  if version ~= 2 then
    pinfo.cols.info = string.format("version %d of the protocol", version)
    local header = tree:add(kestrel, buffer())
    header:add(f.magic, buffer(0, 1))
    header:add(f.version, buffer(2, 1))
    return buffer:len()
  end
  local kind = buffer(3, 1):uint()
  pinfo.cols.info = string.format("%s job %d epoch %d seq %d slot %d workers 0x%x prio %d",
    types[kind] or ("type " .. kind), buffer(8, 2):uint(), buffer(1, 1):uint(), buffer(12, 4):uint(), buffer(10, 2):uint(),
    buffer(16, 4):uint(), buffer(6, 1):uint())
  local header = tree:add(kestrel, buffer())
  header:add(f.magic, buffer(0, 1))
  header:add(f.epoch, buffer(1, 1))
  header:add(f.version, buffer(2, 1))
  header:add(f.format, buffer(2, 1))
  header:add(f.type, buffer(3, 1))
  local flags = header:add(f.flags, buffer(4, 1))
  for _, name in ipairs({"collision", "ecn", "negative", "retransmit", "set"}) do
    flags:add(f[name], buffer(4, 1))
  end
  header:add(f.fan_in, buffer(5, 1))
  header:add(f.prio, buffer(6, 1))
  header:add(f.count, buffer(7, 1))
  header:add(f.job, buffer(8, 2))
  header:add(f.slot, buffer(10, 2))
  header:add(f.seq, buffer(12, 4))
  header:add(f.bitmap, buffer(16, 4))
  header:add(f.config, buffer(20, 2))
  if buffer:len() > 22 then
    local bytes = buffer(22)
    local values = header:add(f.values, bytes)
    local format = buffer(2, 1):bitfield(4, 4)
    local text = {}
    local width = format == 1 and 4 or format == 5 and 4 or format == 4 and 2 or 1
    for at = 0, bytes:len() - width, width do
      local field = bytes(at, width)
      if format == 1 then
        text[#text + 1] = field:int()
      elseif format == 5 then
        text[#text + 1] = field:float()
      elseif format == 2 then
        text[#text + 1] = field:bitfield(0, 4) .. " " .. field:bitfield(4, 4)
      else
        text[#text + 1] = field:uint()
      end
    end
    values:append_text(" (" .. table.concat(text, " ", 1, math.min(#text, 32)) ..
      (#text > 32 and " ..." or "") .. ")")
  end
  return buffer:len()
end

DissectorTable.get("udp.port"):add(19283, kestrel)
